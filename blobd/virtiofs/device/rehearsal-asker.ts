import { setU53 } from "../../../formats/bytes/index.ts";
import { InHeader, OutHeader, ROOT_ID } from "../../../formats/fuse/index.ts";
import { IN_ARGS, OUT_ARGS } from "../../fuse/index.ts";
import { PAGE_SIZE } from "../../sys/index.ts";
import type { RehearsalDriver } from "../../vhost/index.ts";

/** A request of the script: what follows the header, and how much may be answered. */
interface Ask {
  readonly opcode: number;
  readonly nodeId?: number;
  readonly uid?: number;
  readonly args?: Uint8Array;
  readonly name?: string;
  /** Bytes of data behind it, in pages. */
  readonly dataBytes?: number;
  /** Most bytes behind the reply's header. Less than 0: there is no reply, and the request comes in one piece. */
  readonly answerBytes?: number;
  /** The reply is taken in pages, as that to a READ is. */
  readonly inPages?: boolean;
  /** An error is what is expected. */
  readonly mayFail?: boolean;
}

/** Puts requests into the queue, and reads replies. */
export interface Asker {
  /** @throws Error when the slot's request before this one failed */
  ask(slot: number, ask: Ask): void;
  /** Where the reply in a slot begins behind its header. */
  answer(slot: number): DataView;
}

export function makeAsker(driver: RehearsalDriver): Asker {
  const views = driver.slots.map(({ asked, answered }) => ({
    asked: new DataView(asked.buffer, asked.byteOffset, asked.byteLength),
    header: new DataView(answered.buffer, answered.byteOffset, OUT_ARGS),
    answer: new DataView(answered.buffer, answered.byteOffset + OUT_ARGS, answered.byteLength - OUT_ARGS),
  }));
  const asks: Ask[] = [];
  let unique = 2;
  return {
    answer: (slot) => views[slot]!.answer,
    ask(slot, request) {
      const {
        opcode,
        nodeId = ROOT_ID,
        uid = 0,
        args,
        name,
        dataBytes = 0,
        answerBytes = 0,
        inPages = false,
      } = request;
      const { asked } = driver.slots[slot]!;
      const { asked: dv, header } = views[slot]!;
      const error = header.getInt32(OutHeader.at.error, true);
      const last = asks[slot];
      if (error !== 0 && last?.mayFail !== true) throw new Error(`opcode ${last?.opcode} was answered with ${error}`);
      header.setInt32(OutHeader.at.error, 0, true);
      asks[slot] = request;
      const pieces: number[] = [IN_ARGS];
      let bytes = IN_ARGS;
      if (args !== undefined) {
        asked.set(args, bytes);
        bytes += pieces[pieces.push(args.length) - 1]!;
      }
      if (name !== undefined) {
        for (let i = 0; i < name.length; i++) asked[bytes + i] = name.charCodeAt(i);
        asked[bytes + name.length] = 0;
        bytes += pieces[pieces.push(name.length + 1) - 1]!;
      }
      for (let left = dataBytes; left > 0; left -= PAGE_SIZE)
        bytes += pieces[pieces.push(Math.min(left, PAGE_SIZE)) - 1]!;
      dv.setUint32(InHeader.at.len, bytes, true);
      dv.setUint32(InHeader.at.opcode, opcode, true);
      dv.setUint32(InHeader.at.unique, unique, true);
      setU53(dv, InHeader.at.nodeid, nodeId);
      dv.setUint32(InHeader.at.uid, uid, true);
      dv.setUint32(InHeader.at.gid, uid, true);
      unique += 2;
      const answers: number[] = answerBytes < 0 ? [] : [OUT_ARGS];
      if (inPages) for (let left = answerBytes; left > 0; left -= PAGE_SIZE) answers.push(Math.min(left, PAGE_SIZE));
      else if (answerBytes > 0) answers.push(answerBytes);
      driver.add(slot, answerBytes < 0 ? [bytes] : pieces, answers);
    },
  };
}
