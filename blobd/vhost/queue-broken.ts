/** What a guest put into a queue that no driver may: the queue cannot be served on. */
export class QueueBroken extends Error {
  override readonly name = "QueueBroken";
}
