// What a panic of the core calls before it aborts the module.

let handler = console.error;
export const onPanic = (call) => void (handler = call);
export const panicked = (message) => handler(message);
