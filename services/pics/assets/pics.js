// The browser's half of the application: it asks /sign for one signed request at a time and sends it straight to the
// object storage. Reading order: sign and send → upload → gallery → the log under "How does it work ?".
"use strict";

const limits = {
  singlePutBytes: Number(document.body.dataset.singlePutBytesMax),
  partBytes: Number(document.body.dataset.partBytes),
  pictureBytes: Number(document.body.dataset.pictureBytesMax),
  partsInParallel: 3,
  attempts: 4, // of one request, the first included
  retryMilliseconds: 500, // before the second attempt; doubled for each further one
  picturesPerPage: 24,
  requestsLogged: 200,
};
const element = (id) => document.getElementById(id);
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

// ---- sign and send ----

class StorageError extends Error {
  constructor(status, message) {
    super(message);
    this.retriable = status === 0 || status === 429 || status >= 500;
  }
}

async function sign(operation) {
  let answer;
  try {
    const headers = { "content-type": "application/json" };
    answer = await fetch("/sign", { method: "POST", headers, body: JSON.stringify(operation) });
  } catch {
    throw new StorageError(0, "the application did not answer");
  }
  if (answer.ok) return answer.json();
  const text = await answer.text();
  let message = `the application answered ${answer.status}`;
  try {
    message = JSON.parse(text).message;
  } catch {
    // A proxy's own error page: its status has to do.
  }
  throw new StorageError(answer.status, message);
}

// XMLHttpRequest, because fetch does not tell how much of a body has gone.
function send(signed, body, progress) {
  const entry = logRequest(signed, body);
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(signed.method, signed.url);
    for (const [name, value] of Object.entries(signed.headers)) request.setRequestHeader(name, value);
    if (progress) request.upload.onprogress = (event) => progress(event.loaded);
    request.onload = () => {
      entry.finish(`${request.status} ${request.statusText}`.trim(), request.status < 300);
      const xml = parseXml(request.responseText);
      // Completing an upload may fail after its 200 has been sent.
      const failed = xml?.documentElement.nodeName === "Error";
      if (request.status < 300 && !failed) return resolve({ request, xml });
      const reason = [textOf(xml, "Code"), textOf(xml, "Message")].filter(Boolean).join(": ");
      reject(new StorageError(failed && request.status < 300 ? 500 : request.status, reason || `HTTP ${request.status}`));
    };
    request.onerror = () => {
      entry.finish("no answer", false);
      reject(new StorageError(0, "the object storage could not be reached"));
    };
    request.send(body);
  });
}

// Each attempt is signed anew: a signature carries its time.
async function attempt(operation, body, progress) {
  for (let number = 1; ; number++) {
    try {
      const signed = await sign(operation);
      return { signed, ...(await send(signed, body, progress)) };
    } catch (error) {
      if (!error.retriable || number === limits.attempts) throw error;
      await pause(limits.retryMilliseconds * 2 ** (number - 1));
    }
  }
}

function parseXml(text) {
  if (!text.trimStart().startsWith("<")) return null;
  const xml = new DOMParser().parseFromString(text, "application/xml");
  return xml.querySelector("parsererror") ? null : xml;
}

const textOf = (node, name) => node?.getElementsByTagName(name)[0]?.textContent ?? "";

// ---- upload ----

async function uploadWhole(file, bucket, progress) {
  const operation = { operation: "put", bucket, content_type: file.type, size: file.size };
  return (await attempt(operation, file, progress)).signed.key;
}

async function uploadInParts(file, bucket, progress) {
  const start = { operation: "create_multipart", bucket, content_type: file.type, size: file.size };
  const { signed, xml } = await attempt(start, null);
  const upload = { bucket, key: signed.key, upload_id: textOf(xml, "UploadId") };
  if (!upload.upload_id) throw new StorageError(400, "the object storage named no upload");
  try {
    const etags = await uploadParts(file, upload, progress);
    const parts = etags.map((etag, index) => `<Part><PartNumber>${index + 1}</PartNumber><ETag>${escapeXml(etag)}</ETag></Part>`);
    const list = `<CompleteMultipartUpload>${parts.join("")}</CompleteMultipartUpload>`;
    await attempt({ operation: "complete", ...upload }, new Blob([list]));
  } catch (error) {
    // The parts would be kept, and paid for, until someone removes them.
    await attempt({ operation: "abort", ...upload }, null).catch(() => {});
    throw error;
  }
  return upload.key;
}

async function uploadParts(file, upload, progress) {
  const count = Math.ceil(file.size / limits.partBytes);
  const etags = new Array(count);
  const sent = new Array(count).fill(0);
  let next = 0;
  let failed = false;
  const worker = async () => {
    while (next < count && !failed) {
      const index = next++;
      const slice = file.slice(index * limits.partBytes, (index + 1) * limits.partBytes);
      const operation = { operation: "upload_part", ...upload, part: index + 1, size: slice.size };
      const advance = (loaded) => {
        sent[index] = loaded;
        progress(sent.reduce((sum, bytes) => sum + bytes, 0));
      };
      const { request } = await attempt(operation, slice, advance);
      etags[index] = request.getResponseHeader("ETag");
      if (!etags[index]) throw new StorageError(400, "the bucket's CORS rules do not expose ETag");
    }
  };
  const workers = Array.from({ length: limits.partsInParallel }, () =>
    worker().catch((error) => {
      failed = true;
      throw error;
    }),
  );
  // All have ended before an upload is given up, so that no part arrives after the abort.
  const results = await Promise.allSettled(workers);
  const failure = results.find((result) => result.status === "rejected");
  if (failure) throw failure.reason;
  return etags;
}

const escapeXml = (text) => text.replace(/[<>&"]/g, (character) => `&#${character.charCodeAt(0)};`);

function chooseFile() {
  const file = element("file").files[0];
  element("file-name").textContent = file ? file.name : "No file selected.";
  element("size").textContent = file ? describeBytes(file.size) : "will be filled when a file will be selected";
  const tooLarge = file && file.size > limits.pictureBytes;
  element("send").disabled = !file || tooLarge;
  showAlert("danger", tooLarge ? `The picture is larger than ${describeBytes(limits.pictureBytes)}.` : "");
}

async function submitUpload(event) {
  event.preventDefault();
  const file = element("file").files[0];
  const bucket = element("bucket").value;
  if (!file) return;
  element("send").disabled = true;
  element("progress").hidden = false;
  showAlert("success", "");
  clearRequests();
  const progress = (bytes) => {
    element("progress").value = Math.min(1, bytes / file.size);
    element("progress-text").textContent = `${describeBytes(Math.min(bytes, file.size))} of ${describeBytes(file.size)}`;
  };
  progress(0);
  try {
    const upload = file.size <= limits.singlePutBytes ? uploadWhole : uploadInParts;
    const key = await upload(file, bucket, progress);
    progress(file.size);
    showAlert("success", "Picture uploaded");
    element("alert").dataset.key = key;
    element("upload").reset();
    chooseFileKeepingAlert();
    gallery.uploaded.unshift(key);
    if (location.hash === `#${bucket}`) await showBucket(bucket);
    else location.hash = bucket;
  } catch (error) {
    showAlert("danger", `Upload failed: ${error.message}`);
    element("send").disabled = false;
  } finally {
    element("progress").hidden = true;
    element("progress-text").textContent = "";
  }
}

function chooseFileKeepingAlert() {
  const { textContent, className } = element("alert");
  chooseFile();
  showAlert(className.replace("alert", "").trim(), textContent);
}

function showAlert(kind, text) {
  const alert = element("alert");
  alert.className = `alert ${kind}`;
  alert.textContent = text;
  alert.hidden = !text;
}

function describeBytes(bytes) {
  if (bytes < 1024) return `${bytes} bytes`;
  const units = ["KiB", "MiB", "GiB"];
  const power = Math.min(units.length, Math.floor(Math.log2(bytes) / 10));
  return `${(bytes / 1024 ** power).toFixed(1)} ${units[power - 1]} (${bytes} bytes)`;
}

// ---- gallery ----

// `round` tells an answer that comes after the user has gone to another bucket.
const gallery = { bucket: "", keys: [], shown: 0, continuation: null, round: 0, uploaded: [] };

async function showBucket(bucket) {
  Object.assign(gallery, { bucket, keys: [], shown: 0, continuation: null, round: gallery.round + 1 });
  element("gallery").hidden = false;
  element("gallery-title").textContent = `Pictures stored in ${bucket}`;
  element("gallery-note").textContent = "Listing…";
  element("more").hidden = true;
  for (const link of document.querySelectorAll("#buckets a")) {
    if (link.dataset.bucket === bucket) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
  const fresh = document.createDocumentFragment();
  await showMore(fresh, () => element("pictures").replaceChildren(fresh));
}

async function showMore(target, done) {
  const { round } = gallery;
  try {
    if (gallery.shown === gallery.keys.length) await listMore();
    if (round !== gallery.round) return;
    const keys = gallery.keys.slice(gallery.shown, gallery.shown + limits.picturesPerPage);
    const pictures = await Promise.all(keys.map(describePicture));
    if (round !== gallery.round) return;
    gallery.shown += keys.length;
    target.append(...pictures);
    done?.();
    const shown = `${gallery.shown} of ${gallery.keys.length}${gallery.continuation ? " or more" : ""} pictures`;
    element("gallery-note").textContent = gallery.keys.length ? shown : "No picture yet.";
    element("more").hidden = gallery.shown === gallery.keys.length && !gallery.continuation;
  } catch (error) {
    if (round !== gallery.round) return;
    done?.();
    element("gallery-note").textContent = `The bucket could not be listed: ${error.message}`;
  }
}

// Newest first within what one listing returns; what was uploaded on this page comes before everything.
async function listMore() {
  const operation = { operation: "list", bucket: gallery.bucket };
  if (gallery.continuation) operation.continuation_token = gallery.continuation;
  const { xml } = await attempt(operation, null);
  if (!xml) throw new StorageError(400, "the object storage's answer is not XML");
  const objects = [...xml.getElementsByTagName("Contents")].map((object) => ({
    key: textOf(object, "Key"),
    modified: textOf(object, "LastModified"),
  }));
  objects.sort((one, other) => other.modified.localeCompare(one.modified));
  const pictures = objects.map((object) => object.key).filter((key) => /^pictures\/\w{16}\.(png|jpe?g|gif|webp)$/.test(key));
  const fresh = gallery.keys.length ? [] : gallery.uploaded.filter((key) => pictures.includes(key));
  gallery.keys.push(...fresh, ...pictures.filter((key) => !fresh.includes(key)));
  const truncated = textOf(xml, "IsTruncated") === "true";
  gallery.continuation = truncated ? textOf(xml, "NextContinuationToken") : null;
}

async function describePicture(key) {
  const signed = await sign({ operation: "get", bucket: gallery.bucket, key });
  const figure = document.createElement("figure");
  const image = document.createElement("img");
  image.src = signed.url;
  image.alt = key;
  image.dataset.key = key;
  image.onerror = () => figure.classList.add("broken");
  const caption = document.createElement("figcaption");
  const link = document.createElement("a");
  link.href = signed.url;
  const [address, query] = signed.url.split("?");
  const signature = document.createElement("span");
  signature.textContent = `?${query}`;
  link.append(address, signature);
  caption.append(link);
  figure.append(image, caption);
  return figure;
}

// ---- how does it work ? ----

function logRequest(signed, body) {
  const item = document.createElement("li");
  const head = document.createElement("p");
  head.append(labelled("strong", signed.method), " ", labelled("code", signed.url));
  const status = labelled("span", "sending…");
  status.className = "status";
  head.append(" ", status);
  const details = document.createElement("details");
  details.append(labelled("summary", "Headers and string to sign"));
  const lines = Object.entries(signed.headers).map(([name, value]) => `${name}: ${value}`);
  if (body) lines.push(`content-length: ${body.size}`);
  details.append(labelled("pre", lines.join("\n") || "(none: the signature is in the URL)"));
  details.append(labelled("pre", signed.string_to_sign));
  item.append(head, details);
  element("requests").append(item);
  element("requests-empty").hidden = true;
  while (element("requests").childElementCount > limits.requestsLogged) element("requests").firstElementChild.remove();
  const started = performance.now();
  const finish = (text, good) => {
    status.textContent = `${text}, ${Math.round(performance.now() - started)} ms`;
    status.classList.add(good ? "good" : "bad");
  };
  return { finish };
}

function clearRequests() {
  element("requests").replaceChildren();
  element("requests-empty").hidden = false;
}

function labelled(name, text) {
  const node = document.createElement(name);
  node.textContent = text;
  return node;
}

function toggleExplanation() {
  const how = element("how");
  how.hidden = !how.hidden;
  element("how-open").setAttribute("aria-expanded", String(!how.hidden));
  if (!how.hidden) how.scrollIntoView({ block: "nearest" });
}

// ---- start ----

function followAddress() {
  const bucket = decodeURIComponent(location.hash.slice(1));
  const offered = [...element("bucket").options].some((option) => option.value === bucket);
  if (offered) showBucket(bucket);
}

element("file").addEventListener("change", chooseFile);
element("upload").addEventListener("submit", submitUpload);
element("more").addEventListener("click", () => showMore(element("pictures")));
element("how-open").addEventListener("click", toggleExplanation);
window.addEventListener("hashchange", followAddress);
followAddress();
