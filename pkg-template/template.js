// `defineTemplate` and the functions that make variables.

import { checked } from "./errors.js";
import { REQUEST, readOptions } from "./options.js";

const refuse = (field, advice, cause) => {
  throw { field, message: `${field} ${advice}`, cause };
};

export const defineTemplate = (template_id, variables, defaults) =>
  checked([], () => {
    const names = Object.keys(Object(variables));
    const makers = readOptions(variables ?? null, names, "variables");
    for (const name of names) if (typeof makers[name] !== "function") refuse(`variables.${name}`, "must be a function such as text or image");
    const usual = readOptions(defaults, REQUEST, "defaults");
    return (values, more) =>
      checked([], () => {
        const given = readOptions(values, names, "values", "variables.");
        const own = readOptions(more, REQUEST, "request");
        const made = { ...usual.variables, ...own.variables };
        for (const name of names) {
          if (!(name in given)) refuse(`variables.${name}`, "is missing");
          try {
            made[name] = makers[name](given[name]);
          } catch (cause) {
            refuse(`variables.${name}`, "cannot be made from its value", cause);
          }
        }
        return { ...usual, ...own, template_id, variables: made };
      });
  });
