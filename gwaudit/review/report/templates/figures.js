/* Draw the figures when they come into view; the library that draws them is unpacked only then. */

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

async function draw(container) {
  const figure = figures[container.dataset.figure];
  if (!figure) {
    container.textContent = "There are no data for this figure.";
    container.style.minHeight = "0";
    return;
  }
  const Plotly = await loadLibrary();
  const title = container.closest("section").querySelector("h2").textContent;
  container.setAttribute("role", "figure");
  container.setAttribute("aria-label", `${title}: ${container.dataset.figure.replaceAll("-", " ")}`);
  await Plotly.newPlot(container, figure.data, figure.layout, OPTIONS);
  container.on("plotly_click", (event) => {
    const cell = event.points[0].customdata;
    if (container.dataset.figure === "noise-matrix" && cell) showConfusion(cell[0], cell[1]);
  });
}

const inView = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    inView.unobserve(entry.target);
    draw(entry.target);
  }
}, { rootMargin: "300px" });
for (const container of document.querySelectorAll(".figure")) inView.observe(container);
