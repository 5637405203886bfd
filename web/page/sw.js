// Keeps the page on the device: it opens without a server, at once, and as the server isolates it.

const PAGE = { version: "", files: [], later: [] }; // filled by `export`: what is kept at once, and what when it is asked for
const MINE = `mobilenet-page ${self.registration.scope} `; // other pages of this server keep their own
const CACHE = MINE + PAGE.version;
const ISOLATED = { // threads need them, and not every server sends them
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
};

self.addEventListener("install", (event) => {
  self.skipWaiting();
  event.waitUntil(keep());
});

async function keep() {
  const cache = await caches.open(CACHE);
  await Promise.all(PAGE.files.map(async (file) => {
    const answer = await fetch(file, { cache: "no-cache" });
    if (!answer.ok) throw new Error(`${file}: the server answered ${answer.status}`);
    await cache.put(file, answer);
  }));
}

self.addEventListener("activate", (event) => {
  event.waitUntil((async () => {
    for (const name of await caches.keys()) if (name.startsWith(MINE) && name !== CACHE) await caches.delete(name);
    await self.clients.claim();
  })());
});

self.addEventListener("fetch", (event) => {
  const { method, url } = event.request;
  if (method === "GET" && url.startsWith(self.registration.scope)) event.respondWith(answer(event.request));
});

async function answer(request) {
  const name = request.url.slice(self.registration.scope.length).replace(/[?#].*$/, "") || "./";
  const cache = await caches.open(CACHE), kept = await cache.match(name);
  if (kept !== undefined) return isolated(kept);
  const fresh = await fetch(request);
  if (fresh.ok && PAGE.later.includes(name)) await cache.put(name, fresh.clone());
  return fresh;
}

function isolated(kept) {
  const headers = new Headers(kept.headers);
  for (const [name, value] of Object.entries(ISOLATED)) headers.set(name, value);
  return new Response(kept.body, { status: kept.status, statusText: kept.statusText, headers });
}
