import { type ExecutionConfig, formatPlatform } from "../../formats/oci/index.ts";
import { configOfRecord, type OpenedImage } from "../open/index.ts";
import { VmError } from "./errors.ts";

/** An image that lies in files of its own comes without a config: root in `/`, no command. */
const NO_CONFIG: ExecutionConfig = {
  user: "",
  workingDir: "",
  env: [],
  entrypoint: null,
  cmd: null,
  labels: {},
  exposedPorts: [],
  volumes: [],
};

/**
 * How the image wants to be run, after a check that a guest of this machine can run it.
 * @throws VmError ERR_PLATFORM; DocumentError for a config that is none.
 */
export function configOf(image: OpenedImage): ExecutionConfig {
  if (process.arch !== "x64")
    throw new VmError("ERR_PLATFORM", `guests are made for x86-64 processors, this machine is ${process.arch}`);
  if (image.stored === undefined) return NO_CONFIG;
  const { platform, config } = configOfRecord(image.stored.record);
  const fits = ["", "amd64"].includes(platform.architecture) && ["", "linux"].includes(platform.os);
  if (fits) return config;
  throw new VmError(
    "ERR_PLATFORM",
    `the image is for ${formatPlatform(platform)}, a guest of this machine is linux/amd64; try --pull --platform linux/amd64`,
  );
}
