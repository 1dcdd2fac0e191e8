// How wide a text is drawn: asked of the browser once for each text and font.

export const FONTS = {
  node: "600 14px ui-sans-serif, system-ui, sans-serif",
  small: "11px ui-sans-serif, system-ui, sans-serif",
  number: "12px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace",
};

const widths = new Map();
let context = null;

/** The width in pixels of a text in one of FONTS. */
export function textWidth(text, font) {
  const key = `${font} ${text}`;
  if (!widths.has(key)) {
    context ??= document.createElement("canvas").getContext("2d");
    context.font = FONTS[font];
    widths.set(key, context.measureText(text).width);
  }
  return widths.get(key);
}

/** A text cut to a number of characters, with an ellipsis. */
export function shorten(text, most) {
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`;
}
