/* The figures, drawn when they come into view: the library that draws them is unpacked only then. */

/* Nothing may leave the page, also not by the library's own "share" button. */
const OPTIONS = {
  responsive: true, displaylogo: false, showSendToCloud: false, plotlyServerURL: "",
  modeBarButtonsToRemove: ["lasso2d", "select2d"],
};
const figures = JSON.parse($("figures").textContent);
let plotly = null;

async function unpacked() {
  const packed = new Blob([Uint8Array.from(atob($("plotly").textContent), (c) => c.charCodeAt(0))]);
  return new Response(packed.stream().pipeThrough(new DecompressionStream("gzip"))).text();
}

function library() {
  plotly ??= unpacked().then((code) => {
    const script = document.createElement("script");
    script.nonce = document.querySelector("script[nonce]").nonce;
    script.textContent = code;
    document.head.append(script);
    return window.Plotly;
  });
  return plotly;
}

async function draw(place) {
  const figure = figures[place.dataset.figure];
  if (!figure) {
    place.textContent = "Nothing to show.";
    place.style.minHeight = "0";
    return;
  }
  const Plotly = await library();
  const title = place.closest("section").querySelector("h2").textContent;
  place.setAttribute("role", "figure");
  place.setAttribute("aria-label", `${title}: ${place.dataset.figure.replaceAll("-", " ")}`);
  await Plotly.newPlot(place, figure.data, figure.layout, OPTIONS);
  place.on("plotly_click", (event) => {
    const cell = event.points[0].customdata;
    if (place.dataset.figure === "noise-matrix" && cell) showPair(cell[0], cell[1]);
  });
}

const inView = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    inView.unobserve(entry.target);
    draw(entry.target);
  }
}, { rootMargin: "300px" });
for (const place of document.querySelectorAll(".figure")) inView.observe(place);
