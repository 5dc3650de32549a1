const found = [];
const problem = (text) => found.push("problem: " + text.replace(/\s+/g, " "));
const name = (element) => "'" + element.textContent.slice(0, 60) + "'";
// Less than this of two texts may lie upon each other, in pixels: boxes are higher than letters.
const TOUCH = 3;
const SMALLEST = 8;
document.querySelector("iframe").addEventListener("load", (event) => {
  const page = event.target.contentDocument;
  const root = page.documentElement;
  if (root.scrollWidth > root.clientWidth) problem("it is " + root.scrollWidth + " pixels wide, more than there are");
  for (const svg of page.querySelectorAll("svg")) {
    const frame = svg.getBoundingClientRect();
    const where = " in the picture " + (svg.getAttribute("aria-label") || "of the plan");
    const texts = Array.from(svg.querySelectorAll("text")).map((text) => [text, text.getBoundingClientRect()]);
    texts.forEach(([text, box], index) => {
      if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1 || box.bottom > frame.bottom + 1)
        problem(name(text) + " is cut off" + where);
      if (box.height < SMALLEST) problem(name(text) + " is " + box.height.toFixed(1) + " pixels high" + where);
      for (const [other, its] of texts.slice(index + 1)) {
        const wide = Math.min(box.right, its.right) - Math.max(box.left, its.left);
        const high = Math.min(box.bottom, its.bottom) - Math.max(box.top, its.top);
        if (wide > TOUCH && high > TOUCH) problem(name(text) + " lies upon " + name(other) + where);
      }
    });
  }
  for (const button of page.querySelectorAll("th button")) {
    const header = button.parentElement;
    const column = () =>
      Array.from(header.closest("table").tBodies[0].rows).map((row) => Number(row.cells[header.cellIndex].dataset.v));
    button.click();
    const up = column().filter((x) => !Number.isNaN(x));
    if (up.some((x, i) => i > 0 && up[i - 1] > x)) problem("a click on " + name(button) + " does not sort");
    button.click();
    const down = column().filter((x) => !Number.isNaN(x));
    if (down.some((x, i) => i > 0 && down[i - 1] < x)) problem("a second click on " + name(button) + " does not turn the order");
  }
  document.querySelector("pre").textContent = "\n" + found.join("\n") + "\nheight: " + root.scrollHeight + "\n";
});
