"""Native code: explicit vectors over LLVM's IR, elementary functions, and the leaf kernels of a compiled step.

The floors of this folder, from the ground:

- `target`, `engine`: which machine, and from IR text to callable addresses;
- `values`, `vector`: values with operators, loops, masked loads and stores;
- `polynomials`, `exponential`, `logarithm`, `trigonometry`, `error_function`, `functions`: elementary functions;
- `gemm`, `convolution` …: one kernel a file, each emitted for shapes known at compile time.

Nothing here knows of tensors, graphs or the compiler's own IR. llvmlite is imported by these files only.
"""
