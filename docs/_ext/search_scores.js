// The order of search results: a public name that is exactly what was typed, then pages whose
// title has it, then pages whose text has it, then names and API pages that only contain it.
// Sphinx declares it with `var` as well, so `const` would be an error.
var Scorer = {
  score: ([page, , , , score, , kind]) =>
    kind === "text" && /^(reference\/api|project)\//.test(page) ? score - 3 : score,

  objNameMatch: 11,
  objPartialMatch: -4,
  objPrio: { 0: 5, 1: 5, 2: 5 },
  objPrioDefault: 0,

  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
