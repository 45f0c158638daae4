// The check of URLs from the server: only `https:` or this page's own origin, without credentials.

/** The parsed URL, or null if it must not be used. */
export function safeUrl(value) {
  if (typeof value !== "string" || value.trim() === "") return null;
  let url;
  try {
    url = new URL(value, document.baseURI);
  } catch {
    return null;
  }
  // A `blob:` URL has this page's origin too, so the scheme is checked as well.
  const ownOrigin = url.origin === location.origin && (url.protocol === "http:" || url.protocol === "https:");
  if (url.protocol !== "https:" && !ownOrigin) return null;
  if (url.username !== "" || url.password !== "") return null;
  return url.href;
}
