// The order of search results: first the pages whose title has the word, then public names that are
// exactly the word, then pages whose text has it. The names that only contain it, and the text of
// the API and of the project's own pages, come last.
//
// Sphinx declares this variable with `var` as well, so `const` would be an error.
var Scorer = {
  score: ([page, , , , score, , kind]) =>
    kind === "text" && /^(reference\/api|project)\//.test(page) ? score - 3 : score,

  // A public name gets one of these, plus the one below for its kind.
  objNameMatch: 11,
  objPartialMatch: -4,
  objPrio: { 0: 1, 1: 1, 2: 1 },
  objPrioDefault: 0,

  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
