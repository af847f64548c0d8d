// Dates and times on the axes of charts as ISO 8601 has them: day and month in one order everywhere.
"use strict";
window.isoMoments = (template) => uPlot.fmtDate(template
  .replace("{h}:{mm}{aa}", "{HH}:{mm}").replace("{h}{aa}", "{HH}:{mm}")
  .replace("{M}/{D}/{YY}", "{YYYY}-{MM}-{DD}").replace("{M}/{D}", "{MM}-{DD}"));
