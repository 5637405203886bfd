// The page on the device: kept for use without a network, and made new when the server has a newer one.

// `busy()` says whether the person has begun, and `renewed()` tells them that a newer page is here.
export async function install(busy, renewed) {
  if (!navigator.serviceWorker) return "";
  const before = navigator.serviceWorker.controller;
  navigator.serviceWorker.addEventListener("controllerchange", () => {
    if (before === null) return; // the first: nothing has changed
    if (busy()) renewed(); else window.location.reload();
  });
  try {
    const registered = await navigator.serviceWorker.register("sw.js", { updateViaCache: "none" });
    if (registered.active === null) await arrived(registered.installing ?? registered.waiting);
    return "Kept on this device: it works without a network.";
  } catch {
    return ""; // a server with a certificate of its own, a private window: the page works, but is not kept
  }
}

function arrived(worker) {
  return new Promise((resolve, reject) => {
    const look = () => {
      if (worker.state === "activated") resolve();
      if (worker.state === "redundant") reject(new Error("not kept"));
    };
    worker.addEventListener("statechange", look);
    look();
  });
}
