// Signs staff in, keeps the token in memory only, and shows the overview anew every few seconds.
const every = 10000;
let token = "";

async function show() {
  const answer = await fetch("/status", { headers: { accept: "text/html", authorization: `Bearer ${token}` } });
  if (answer.status === 401) return location.reload();
  if (!answer.ok) throw new Error("Only staff may see this.");
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const open = [...document.querySelectorAll("details[open] > summary")].map((summary) => summary.textContent);
  page.querySelectorAll("details").forEach((jobs) => { if (open.includes(jobs.firstChild.textContent)) jobs.open = true; });
  document.querySelector("main").replaceWith(page.querySelector("main"));
}

async function keepShowing() {
  if (!document.hidden) await show().catch(() => document.querySelector("main").classList.add("stale"));
  setTimeout(keepShowing, every);
}

document.querySelector("#sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  const refusal = form.querySelector(".refusal");
  refusal.textContent = "";
  const answer = await fetch("/api/v1/auth/login", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(Object.fromEntries(new FormData(form))),
  });
  const session = await answer.json();
  if (!answer.ok) { refusal.textContent = session.detail || session.title; return; }
  token = session.tokens.access_token;
  try { await show(); } catch (error) { refusal.textContent = error.message; return; }
  setTimeout(keepShowing, every);
});
