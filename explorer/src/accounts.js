import { getNamedType, isEnumType, isInputObjectType, isNonNullType, isObjectType, isRequiredArgument, isScalarType } from "graphql";
import { uuid } from "./formulas.js";

/**
 * How users log in to this graph, read off its schema: nothing here knows a graph by name. A schema has a login if there
 * is a mutation `login` that takes a password and gives a type with an `accessToken`, wherever in its answer.
 * `register`, `refresh` and `logout` are used where they are there, too. Null where there is no login.
 */
export function findAccounts(schema) {
  const fields = schema?.getMutationType()?.getFields() ?? {};
  const login = readOperation(fields.login);
  if (!login?.token || !login.inputs.some((input) => input.isPassword)) return null;
  const refresh = fields.refresh && readOperation(fields.refresh);
  const takesToken = refresh?.token && refresh.inputs.length === 1 && refresh.inputs[0].name === "refreshToken";
  const ends = fields.logout && !fields.logout.args.some(isRequiredArgument);
  const register = readOperation(fields.register);
  return {
    login,
    register: register?.inputs.some((input) => input.isPassword) ? register : null,
    refresh: takesToken ? refresh : null,
    logout: ends ? `mutation { logout ${below(fields.logout.type)} }` : null,
  };
}

const KEY = /^idempotency_?key$/i;

/** A mutation whose arguments are scalars and enums, or one input object of them. */
function readOperation(field) {
  if (!field) return null;
  const [only] = field.args;
  const isObject = field.args.length === 1 && isInputObjectType(getNamedType(only.type));
  const wanted = isObject ? Object.values(getNamedType(only.type).getFields()) : field.args;
  const inputs = [];
  for (const input of wanted) {
    const type = getNamedType(input.type);
    const isRequired = isNonNullType(input.type) && input.defaultValue === undefined;
    if (isScalarType(type) || isEnumType(type)) inputs.push(readInput(input, type, isRequired));
    else if (isRequired) return null;
  }
  const token = pathTo(field.type, "accessToken", 3);
  const head = isObject
    ? [`$given: ${only.type}`, `${only.name}: $given`]
    : [inputs.map((each) => `$${each.name}: ${each.type}`), inputs.map((each) => `${each.name}: $${each.name}`)];
  const query = `mutation (${head[0]}) { answer: ${field.name}(${head[1]}) ${selection(field.type, token)} }`;
  return { inputs: inputs.filter((input) => input.isRequired), token, query, variables: isObject ? (given) => ({ given }) : (given) => given };
}

function readInput(input, type, isRequired) {
  return {
    name: input.name,
    label: input.name.replace(/([a-z])([A-Z])/g, "$1 $2").replace(/^./, (letter) => letter.toUpperCase()),
    hint: input.description ?? "",
    type: String(input.type),
    isRequired,
    isPassword: /passw/i.test(input.name),
    isKey: KEY.test(input.name),
    choices: isEnumType(type) ? type.getValues().map((value) => value.name) : null,
  };
}

/** The variables of an operation for what a form has; a key that names the request is a new one. */
export function variablesOf(operation, form) {
  const given = operation.inputs.map((input) => [input.name, input.isKey ? uuid() : form[input.name]]);
  return operation.variables(Object.fromEntries(given));
}

/** The fields that lead to a field of that name, or null. */
function pathTo(type, name, depth) {
  const named = getNamedType(type);
  if (!isObjectType(named) || depth === 0) return null;
  const fields = named.getFields();
  if (fields[name] && isScalarType(getNamedType(fields[name].type))) return [];
  for (const field of Object.values(fields)) {
    const rest = field.args.length === 0 ? pathTo(field.type, name, depth - 1) : null;
    if (rest) return [field.name, ...rest];
  }
  return null;
}

/** What is asked of an answer: the tokens and whose they are, and what is wrong. */
function selection(type, token) {
  const named = getNamedType(type);
  if (!isObjectType(named)) return "";
  const errors = named.getFields().errors;
  const parts = errors ? [`errors ${below(errors.type, ["message", "field"])}`] : [];
  if (token) {
    const holder = token.reduce((each, name) => getNamedType(each.getFields()[name].type), named);
    const own = holder.getFields();
    const inner = ["accessToken", "refreshToken"].filter((name) => own[name]);
    const user = isObjectType(getNamedType(own.user?.type)) && getNamedType(own.user.type).getFields();
    const names = user && ["name", "email"].filter((name) => isScalarType(getNamedType(user[name]?.type)));
    if (names?.length) inner.push(`user { ${names.join(" ")} }`);
    parts.push(token.reduceRight((rest, name) => `${name} { ${rest} }`, inner.join(" ")));
  }
  return `{ ${parts.join(" ") || "__typename"} }`;
}

function below(type, wanted = ["message"]) {
  const named = getNamedType(type);
  if (!isObjectType(named)) return "";
  const fields = named.getFields();
  const found = wanted.filter((name) => fields[name] && isScalarType(getNamedType(fields[name].type)));
  return `{ ${found.join(" ") || "__typename"} }`;
}
