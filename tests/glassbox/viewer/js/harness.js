// The least that tests of modules need: each `test` is run at once, and what became of it is kept for the runner.

globalThis.results = [];

/** Run a test; a thrown error is its failure. */
export function test(name, body) {
  try {
    body();
    globalThis.results.push({ name, error: null });
  } catch (error) {
    globalThis.results.push({ name, error: String(error.stack ?? error) });
  }
}

/** The same value, compared as JSON; NaN and infinities are told apart. */
export function equal(found, wanted) {
  const [a, b] = [found, wanted].map((value) => JSON.stringify(value, exact));
  if (a !== b) throw new Error(`${a} is not ${b}`);
}

function exact(_, value) {
  if (typeof value === "number" && !Number.isFinite(value)) return `number ${value}`;
  return value instanceof Map || value instanceof Set ? [...value] : value;
}

/** Numbers that agree to a share of the larger one. */
export function close(found, wanted, share = 1e-12) {
  [found].flat().forEach((x, i) => {
    const y = [wanted].flat()[i];
    if (!(Math.abs(x - y) <= share * Math.max(Math.abs(x), Math.abs(y), 1)))
      throw new Error(`${found} is not near ${wanted}`);
  });
}

export function throws(body, part) {
  try {
    body();
  } catch (error) {
    if (!error.message.includes(part)) throw new Error(`"${error.message}" does not say "${part}"`);
    return;
  }
  throw new Error("nothing was thrown");
}
