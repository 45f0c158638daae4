// Decides whether a URL that came from the server may reach the page: `https:` or this page's own origin, and no credentials in it.

/** The URL as the browser reads it, or null where it must not be used. */
export function safeUrl(value) {
  if (typeof value !== "string" || value.trim() === "") return null;
  let url;
  try {
    url = new URL(value, document.baseURI);
  } catch {
    return null;
  }
  // A `blob:` URL carries this page's origin too, so the scheme is asked for as well.
  const ownOrigin = url.origin === location.origin && (url.protocol === "http:" || url.protocol === "https:");
  if (url.protocol !== "https:" && !ownOrigin) return null;
  if (url.username !== "" || url.password !== "") return null;
  return url.href;
}
