/* Draw the figures when they come into view, or when the page has been idle for a while, so that they can be printed. The
   library that draws them is unpacked only then. */

/* Nothing may leave the page, so the library has no "share" button. */
const OPTIONS = {
  responsive: true, displaylogo: false, showSendToCloud: false, plotlyServerURL: "",
  modeBarButtonsToRemove: ["lasso2d", "select2d"],
};
const figures = JSON.parse($("figures").textContent);
let plotly = null;

async function unpackLibrary() {
  const packed = new Blob([Uint8Array.from(atob($("plotly").textContent), (c) => c.charCodeAt(0))]);
  return new Response(packed.stream().pipeThrough(new DecompressionStream("gzip"))).text();
}

function loadLibrary() {
  plotly ??= unpackLibrary().then((code) => {
    const script = document.createElement("script");
    script.nonce = document.querySelector("script[nonce]").nonce;
    script.textContent = code;
    document.head.append(script);
    return window.Plotly;
  });
  return plotly;
}

const waiting = new Set(document.querySelectorAll(".figure"));

async function draw(container) {
  if (!waiting.delete(container)) return;
  inView.unobserve(container);
  if (figures[container.dataset.figure]) await loadLibrary();
  place(container);
}

/* Put a figure into its place; the library is there already. */
function place(container, layout = {}) {
  const figure = figures[container.dataset.figure];
  if (!figure) {
    container.textContent = "There are no data for this figure.";
    container.style.minHeight = "0";
    return;
  }
  const title = container.closest("section").querySelector("h2").textContent;
  container.setAttribute("role", "figure");
  container.setAttribute("aria-label", `${title}: ${container.dataset.figure.replaceAll("-", " ")}`);
  container.replaceChildren();
  window.Plotly.newPlot(container, figure.data, { ...figure.layout, ...layout }, OPTIONS);
  container.on("plotly_click", (event) => {
    const cell = event.points[0].customdata;
    if (container.dataset.figure === "noise-matrix" && cell) showConfusion(cell[0], cell[1]);
  });
}

const inView = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) draw(entry.target);
}, { rootMargin: "300px" });
for (const container of waiting) inView.observe(container);

const DRAW_AFTER = 1500; // milliseconds: the samples come first
const whenIdle = window.requestIdleCallback ?? ((work) => setTimeout(work, 100));

function drawNext() {
  const [container] = waiting;
  if (container) draw(container).then(() => whenIdle(drawNext));
}
window.addEventListener("load", () => setTimeout(() => whenIdle(drawNext), DRAW_AFTER));

/* Paper shows every sample that passes the filters, and figures of its own width. */
const PAPER_WIDTH = 660; // CSS pixels: A4 or Letter, without the margins

window.addEventListener("beforeprint", () => {
  drawMore(visible.length);
  for (const container of document.querySelectorAll(".figure")) {
    const drawn = container._fullLayout !== undefined;
    if (drawn) window.Plotly.relayout(container, { width: PAPER_WIDTH });
    else if (window.Plotly && waiting.delete(container)) place(container, { width: PAPER_WIDTH });
    else if (waiting.has(container)) container.textContent = "This figure was not drawn yet when the page was printed: print it again.";
  }
});
window.addEventListener("afterprint", () => {
  for (const container of document.querySelectorAll(".js-plotly-plot")) if (container._fullLayout) window.Plotly.relayout(container, { width: null, autosize: true });
});
