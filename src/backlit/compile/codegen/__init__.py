"""Native code: explicit vectors over LLVM's IR, elementary functions, and the leaf kernels of a compiled step.

The floors of this folder, from the ground:

- `target`, `engine`: which machine, and from IR text to callable addresses;
- `values`, `vector`: values with operators, loops, masked loads and stores;
- `polynomials`, `exponential`, `logarithm`, `trigonometry`, `error_function`, `functions`: elementary functions;
- `tile_sum`, `subroutines`, `packing`: accumulators in registers, shared inner functions, panels;
- `gemm_plan`, `gemm_tile`, `gemm`: matrix products with epilogues; `small_product`, `attention`;
- `zero_lists`, `gemm_sparse`: products that pass over the zeros of their left side;
- `row_normalization`, `row_lookup`: layer and RMS normalisation, embeddings, each both ways;
- `images`, `layouts`, `convolution_plan`, `correlation`, `convolution`, `backward_weights`: direct convolutions;
- `pooled_convolution`, `routed_convolution`: with ReLU and max pooling, and backwards over routed entries only;
- `winograd`, `winograd_convolution`: 3×3 kernels with 2.25 times fewer multiplications;
- `composed`, `dense_convolution`, `dense_pooled_convolution`: the same for arrays in the library's own order.

A kernel is a frozen specification of shapes and places, and `emit_…(module, name, specification, …)`, which defines a
function of pointers in an LLVM module. Scratch memory is the caller's: `workspace_size` and the like say how much.

Nothing here knows of tensors, graphs or the compiler's own IR. llvmlite is imported by these files only.
"""
