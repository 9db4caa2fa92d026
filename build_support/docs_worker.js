// SPDX-License-Identifier: Apache-2.0
// Search runs in a Web Worker, which browsers refuse to pages of a file system. There, its script runs in a hidden frame.
if (location.protocol === "file:") {
  const load = (inner, url) => new Promise((resolve, reject) => {
    const script = inner.document.createElement("script");
    Object.assign(script, { src: url, onload: resolve, onerror: reject });
    inner.document.body.append(script);
  });
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      const inner = frame.contentWindow;
      inner.importScripts = (...urls) => urls.reduce((done, next) => done.then(() => load(inner, next)), Promise.resolve());
      inner.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      this.terminate = () => frame.remove();
      this.postMessage = (data) => ready.then(() => inner.dispatchEvent(new MessageEvent("message", { data })));
      const ready = load(inner, url);
    }
  };
}
