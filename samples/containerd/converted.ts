import { erofsify } from "../../builder/testkit/index.ts";

/**
 * For tests and the benchmark: converts an image of a registry and puts the result where it is found by the image's name,
 * attached to it or beside it in an index that takes the tag over.
 * @param authFile credentials as Docker has them, for registries that want some
 * @returns what the registry stores of it, in bytes
 */
export async function addConverted(
  image: string,
  store: string,
  form: "referrer" | "index",
  authFile?: string,
): Promise<number> {
  const env: Record<string, string> = authFile === undefined ? {} : { REGISTRY_AUTH_FILE: authFile };
  const args = ["push", "--json", "--store", store, "--as", form, image];
  const { status, stdout, stderr } = await erofsify(args, { env });
  if (status !== 0) throw new Error(`erofsify push ${image}: ${stderr}`);
  return JSON.parse(stdout).storedBytes;
}
