/** Credentials for registries that containerd has and we do not: as kubelet hands them on, or from Kubernetes' secrets. */
export { type AuthEntry, CredentialFile } from "./credential-file.ts";
export { addImageProxy } from "./image-proxy.ts";
export { watchSecrets } from "./kube-secrets.ts";
