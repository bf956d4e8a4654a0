import assert from "node:assert/strict";
import { AUTHORIZATION } from "./service.ts";
import { until } from "./until.ts";

export interface JobView {
  readonly id: string;
  readonly source: string;
  readonly target: string | null;
  readonly digest: string;
  readonly verity: boolean;
  readonly status: string;
  readonly reason: string | null;
  readonly errorCode: string | null;
  readonly attempt: number;
  readonly events: number;
  readonly sourceBytes: number | null;
  readonly targetBytes: number | null;
  readonly targetDigest: string | null;
  /** ISO 8601. */
  readonly created: string;
  readonly finished: string | null;
}

/** Talks to a service on a loopback port. */
export class JobClient {
  readonly url: string;

  constructor(port: number) {
    this.url = `http://127.0.0.1:${port}`;
  }

  fetch(path: string, init: RequestInit = {}): Promise<Response> {
    return fetch(`${this.url}${path}`, {
      redirect: "manual",
      ...init,
      headers: { authorization: AUTHORIZATION, ...(init.headers as Record<string, string>) },
    });
  }

  async jobs(query = ""): Promise<JobView[]> {
    const response = await this.fetch(`/api/v1/jobs?limit=500${query}`);
    assert.equal(response.status, 200);
    return (await response.json()) as JobView[];
  }

  /** Asks for a conversion; its id. */
  async start(reference: string, more: object = {}): Promise<string> {
    const body = JSON.stringify({ reference, ...more });
    const response = await this.fetch("/api/v1/jobs", { method: "POST", body });
    assert.equal(response.status, 202, await response.clone().text());
    return ((await response.json()) as { id: string }).id;
  }

  async job(id: string): Promise<JobView> {
    const response = await this.fetch(`/api/v1/jobs/${id}?follow=true`);
    assert.equal(response.status, 200);
    return (await response.json()) as JobView;
  }

  /** Waits until a conversion has one of the statuses. */
  async waitFor(id: string, ...statuses: string[]): Promise<JobView> {
    let job = await this.job(id);
    await until(`${id} is ${statuses.join(" or ")}`, async () => {
      job = await this.job(id);
      return statuses.includes(job.status);
    });
    return job;
  }
}
