exports.name = "own";
