"""Compiled execution: queries and events that come again and again are answered by functions that were made for them.

The problem. graphql-core interprets: for every value of every answer it looks up the field, its type, its arguments and
its resolver, and Strawberry looks up its own field beside it. All of that is the same each time, for a text that a
router sends thousands of times. Measured, four fifths of a subgraph's time went there.

The idea. A text is parsed and validated once. Then a function is made for each object that it selects fields of
(`selections`), and one for each field that has a resolver, a list or an object in it (`fields`). They call the same
resolvers, with the same `info`. A plain attribute of a plain class, a text or an enum costs a read and a comparison.

Of a subscription that is what is executed for each event. The events themselves come from its resolver, which is called
once, by graphql-core.

Why it is right. Compiled code does what is common, and hands everything else, one value or one object and all below it,
to graphql-core's own executor, which stands behind every execution and shares its errors (`run`). It does so before it
has called a resolver of that object, so nothing is called twice. Whole operations are left to Strawberry where

    - they are mutations, have introspection in them or a directive other than @skip and @include, are not valid or
      are larger than FIELDS_MAX;
    - a condition is no boolean, or there are more than CONDITIONS_MAX of them;
    - an extension of the schema, or an execution context of its own, has a say in execution.

So there is a slow twin for everything, and tests compare the two on whatever can fail. What may differ: where an error
nulls an object, which of the errors of the fields beside it are told, as the specification has it.

What it costs. Making the functions takes about as long as validating. They are kept by text, operation name and
conditions, the least recently used go first, within CACHED_BYTES_MAX.

    compiled = CompiledOperations(schema, rules=rules, tokens_max=10_000)
    result = await compiled.execute("query($id: ID!) { stock(id: $id) { symbol } }", {"id": "s1"}, context, None)
    result.data                # {"stock": {"symbol": "ACME"}}
"""

from subgraphs.shared.graphql_execution.operations import CompiledOperations

__all__ = ["CompiledOperations"]
