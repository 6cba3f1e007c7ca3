// Draws the formulas of HTML files in place: node katex.cjs KATEX PAGE...
// Pages have them as \(...\) and \[...\] in elements of the class "arithmatex".

const fs = require("fs");

const [, , module_, ...pages] = process.argv;
const katex = require(module_);
const MARK = /<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]<\/\1>/gs;
const LETTERS = { "&lt;": "<", "&gt;": ">", "&quot;": '"', "&#39;": "'", "&amp;": "&" };

// What \qquad separates may break into lines of its own; not inside of braces.
function pieces(latex) {
  const found = [""];
  let depth = 0;
  for (const token of latex.match(/\\[a-zA-Z]+|\\.|[^\\]/gs) || []) {
    if (token === "{" || token === "\\begin" || token === "\\left") depth += 1;
    if (token === "}" || token === "\\end" || token === "\\right") depth -= 1;
    if (depth === 0 && token === "\\qquad") found.push("");
    else found[found.length - 1] += token;
  }
  return found.filter((piece) => piece.trim());
}

function draw(latex, displayMode) {
  return katex.renderToString(latex, { displayMode, strict: "error", throwOnError: true });
}

let failed = 0;
for (const page of pages) {
  const text = fs.readFileSync(page, "utf8");
  const drawn = text.replace(MARK, (all, tag, kind, escaped) => {
    const latex = escaped.replace(/&(?:lt|gt|quot|#39|amp);/g, (letter) => LETTERS[letter]);
    try {
      if (kind === "(") return draw(latex, false);
      return `<div class="formulas">${pieces(latex).map((p) => draw(p, true)).join("")}</div>`;
    } catch (error) {
      failed += 1;
      console.log(`${page}: ${latex}\n    ${error.message}`);
      return all;
    }
  });
  if (drawn !== text) fs.writeFileSync(page, drawn);
}
process.exitCode = failed ? 1 : 0;
