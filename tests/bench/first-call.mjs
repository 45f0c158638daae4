// A fresh process that imports one library and makes its first call; it prints when it began to import, in nanoseconds
// on the clock that all processes of this machine share.

const [, , script, base] = process.argv;
const begun = process.hrtime.bigint();
const { client } = await import(script);
await client(base)();
console.log(String(begun));
