import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { type Registry, startRegistry, tempDir } from "../testkit/index.ts";
import { authorizationFile, freePort, type JobProcess, putImage, startJob, tinyImage } from "./testkit/index.ts";

// The page in Debian's Chromium, as a person uses it.

const directory = tempDir();
let registry: Registry;
let service: JobProcess;
let browser: Browser;
let url: string;
const problems: string[] = [];

before(async () => {
  const port = await freePort();
  url = `http://127.0.0.1:${port}/`;
  registry = await startRegistry();
  service = await startJob([
    ...["serve", "--listen", `127.0.0.1:${port}`, "--registry", registry.host, "--store", join(directory, "store")],
    ...["--database", join(directory, "queue"), "--authorization-file", authorizationFile(directory)],
  ]);
  browser = await chromium.launch({
    executablePath: "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-dev-shm-usage"],
  });
  await putImage(registry.host, "team/app", "1.0", tinyImage([{ name: "file", content: "content" }]));
});
after(async () => {
  await browser.close();
  await service.stop();
  await registry.stop();
});

/** A window of a user who knows the password. */
async function open(
  options: Parameters<Browser["newContext"]>[0] = {},
): Promise<{ page: Page; context: BrowserContext }> {
  const context = await browser.newContext({ httpCredentials: { username: "user", password: "pass" }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  page.on("pageerror", (error) => problems.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error") problems.push(message.text());
  });
  await page.goto(url);
  return { page, context };
}

test("an image is started, watched until it is done, and converted again", async () => {
  const { page, context } = await open();
  await page.getByText("Nothing yet.").waitFor();
  // A second window sees it by itself.
  const watcher = await context.newPage();
  await watcher.goto(url);
  await page.getByLabel("Convert an image").fill(`${registry.host}/team/app:1.0`);
  await page.getByRole("button", { name: "Start" }).click();
  await page.waitForURL(/\/jobs\/[0-9a-f-]+$/);
  await page.locator(".badge.done").waitFor();
  const facts = (await page.locator("dl").textContent()) ?? "";
  assert.match(facts, /Converted image127\.0\.0\.1:\d+\/team\/app:1\.0-erofs/);
  assert.match(facts, /Its digestsha256:[0-9a-f]{64}/);
  assert.match(facts, /Size2\.05 kB → \d/);

  const row = watcher.locator("#rows tr");
  await row.locator(".badge.done").waitFor();
  assert.match((await row.textContent()) ?? "", /team\/app:1\.0/);
  await watcher.getByRole("button", { name: "Convert again" }).click();
  await watcher.waitForURL(/\/jobs\//);
  await watcher.locator(".badge.done").waitFor();
  await watcher.getByRole("link", { name: "All conversions" }).click();
  await watcher.getByRole("link", { name: /^Done/ }).click();
  assert.equal(await watcher.locator("#rows tr").count(), 1);
  assert.equal(await watcher.locator("nav [aria-current=page]").textContent(), "Done 1");
  assert.deepEqual(problems, []);
  await context.close();
});

test("a failure shows its reason, in the list too; a wrong reference is told beside what was typed", async () => {
  const { page, context } = await open();
  await page.getByLabel("Convert an image").fill(`${registry.host}/team/absent:1`);
  await page.keyboard.press("Enter");
  await page.locator(".badge.failed").waitFor();
  await page.getByText("is not in the registry").waitFor();
  await page.getByRole("button", { name: "Retry" }).waitFor();
  await page.goto(url);
  assert.match((await page.locator("tr[data-status=failed] .reason").textContent()) ?? "", /is not in the registry/);

  await page.getByLabel("Convert an image").fill("elsewhere.example/app");
  await page.getByRole("button", { name: "Start" }).click();
  assert.match(
    (await page.getByRole("alert").textContent()) ?? "",
    /elsewhere\.example is not a registry of this service/,
  );
  assert.equal(await page.getByLabel("Convert an image").inputValue(), "elsewhere.example/app");
  await context.close();
});

test("without scripts the page can be read and used", async () => {
  const { page, context } = await open({ javaScriptEnabled: false });
  assert.match((await page.locator("#rows").textContent()) ?? "", /team\/app:1\.0/);
  await page.getByRole("link", { name: "team/app:1.0" }).first().click();
  assert.match((await page.locator("dl").textContent()) ?? "", /Asked for by/);
  await page.getByRole("button", { name: "Convert again" }).click();
  assert.match(page.url(), /\/jobs\//);
  await context.close();
});

test("a narrow window loses nothing at its sides; without the password there is nothing to see", async () => {
  const { page, context } = await open({ viewport: { width: 380, height: 700 } });
  await page.locator("#rows tr").first().waitFor();
  assert.ok(await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"));
  await context.close();
  const stranger = await browser.newContext({ httpCredentials: { username: "user", password: "wrong" } });
  const answer = await (await stranger.newPage()).goto(url);
  assert.equal(answer?.status(), 401);
  await stranger.close();
});
