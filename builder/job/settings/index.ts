/** The service's settings: registries, rules, limits. */
export { CONVERT_ALL, type Rule, ruleFor } from "./rules.ts";
export { type JobSettings, parseJobSettings, type RegistryNames, readJobSettings, SettingsError } from "./settings.ts";
