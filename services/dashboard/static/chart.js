// Equity and drawdown, drawn by uPlot from /api/equity; restarts and changes of the trading state as dashed lines.

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const colour = (name) => {
  const probe = document.createElement("span");
  probe.className = "sr";
  document.body.append(probe);
  probe.style.color = css(name);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
};
const joined = (a, b) => uPlot.join([a, b]);
const columns = (points, index) => [points.map((point) => point[0] / 1000), points.map((point) => Number(point[index]))];

function marked(marks) {
  return (plot) => {
    const { ctx } = plot;
    ctx.save();
    ctx.setLineDash([6, 4]);
    ctx.lineWidth = devicePixelRatio;
    for (const [at, kind] of marks) {
      const x = Math.round(plot.valToPos(at / 1000, "x", true));
      if (x < plot.bbox.left || x > plot.bbox.left + plot.bbox.width) continue;
      ctx.strokeStyle = colour(kind === "restart" ? "--warn" : "--bad");
      ctx.beginPath();
      ctx.moveTo(x, plot.bbox.top);
      ctx.lineTo(x, plot.bbox.top + plot.bbox.height);
      ctx.stroke();
    }
    ctx.restore();
  };
}
function draw(place, height, data, series, marks, values) {
  place.replaceChildren();
  const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 } };
  const clock = (_, ticks, __, ___, step) => ticks.map((at) => new Date(at * 1000).toISOString().slice(step < 60 ? 11 : step < 86400 ? 11 : 5, step < 60 ? 19 : step < 86400 ? 16 : 10));
  const options = {
    width: place.clientWidth, height, series: [{ value: (_, at) => (at == null ? "" : new Date(at * 1000).toISOString().replace("T", " ").slice(0, 19)) }, ...series], axes: [{ ...axis, values: clock, space: 90 }, { ...axis, size: 84, values }],
    hooks: { draw: [marked(marks)] }, cursor: { y: false }, tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC"),
  };
  return new uPlot(options, data, place);
}
async function show() {
  const told = await (await fetch("/api/equity")).json();
  const list = document.querySelector("#marks");
  list.replaceChildren(...told.marks.map(([at, kind, text]) => {
    const item = document.createElement("li"), time = document.createElement("time");
    time.textContent = new Date(at).toISOString().replace("T", " ").slice(0, 19);
    item.append(time, ` ${kind}: ${text}`);
    return item;
  }));
  const equity = document.querySelector("#equity"), drawdown = document.querySelector("#drawdown");
  if (told.points.length + told.realized.length < 2) { equity.textContent = "Not enough points yet."; return; }
  const money = (_, ticks) => ticks.map((value) => value.toLocaleString("en", { maximumFractionDigits: 2 }));
  const share = (_, ticks) => ticks.map((value) => `${(value * 100).toLocaleString("en", { maximumSignificantDigits: 3 })} %`);
  const line = { width: 2, spanGaps: true };
  draw(equity, 280, joined(columns(told.points, 1), columns(told.realized, 1)), [
    { ...line, label: `NAV, ${told.currency}`, stroke: colour("--link") },
    { ...line, label: "Cash", stroke: colour("--good"), paths: uPlot.paths.stepped({ align: 1 }) },
  ], told.marks, money);
  draw(drawdown, 160, joined(columns(told.points, 2), columns(told.realized, 2)).map((column, index) => (index ? column.map((value) => (value ? -value : value)) : column)), [
    { ...line, label: "Drawdown of NAV", stroke: colour("--bad"), fill: colour("--bad-bg"), fillTo: () => 0 },
    { ...line, label: "of cash", stroke: colour("--muted"), paths: uPlot.paths.stepped({ align: 1 }) },
  ], told.marks, share);
}
addEventListener("DOMContentLoaded", show);
if (document.readyState !== "loading") show();
let resizing = 0;
addEventListener("resize", () => { clearTimeout(resizing); resizing = setTimeout(show, 300); });
document.querySelector("#theme").addEventListener("click", show);
