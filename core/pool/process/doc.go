// Package process runs operations as processes of this machine.
//
// # The handler contract
//
// A handler is any program. It is told what to do by files and variables, never by its arguments:
//
//	POP_PAYLOAD_FILE        the operation's payload, JSON
//	POP_PARAMS_FILE         the operation's params, a JSON object
//	POP_LAST_PROGRESS_FILE  what the attempt before reported last, an OperationProgress; set only if there was one
//	POP_RESULT_FILE         where to write the result, JSON; no file or an empty one means null
//	POP_PROGRESS_FILE       where to append progress, one JSON object per line: {"percent": 40, "message": "...", "params": {...}}
//	POP_WORK_DIR            a folder of the attempt's own, removed when it ends
//	POP_SECRETS_DIR         a folder with a file for each secret of the registry entry; set only if there are any
//	POP_AGENDA_ID, POP_OPERATION, POP_CUSTOMER_ID, POP_INSIGHT_ID, POP_LINK_ID, POP_CID, POP_FENCE, POP_ATTEMPT
//	POP_IDEMPOTENCY_KEY     names the attempt, for systems that are to perform an effect only once
//
// The params of a progress line are kept with the progress and handed to the next attempt, so that a handler can find
// outside work again. Besides these variables the handler gets PATH and those that its registry entry names.
//
// Exit status 0 means succeeded, [handler.ExitNonRetryable] failed with no point in another attempt, anything else failed.
// The end of what a handler printed is kept with its failure. A handler runs in a process group of its own. To stop it, the
// group gets SIGTERM and, after the handler's grace, SIGKILL. Processes that a handler leaves behind have a second to end;
// then they are killed and the operation fails, because what they were doing is unfinished.
//
// No process of a handler outlives the executor, even if that is killed: see guardian. One that has left its group is found by
// POP_WORK_DIR in its environment, on systems with /proc. What handlers of an executor that was killed together with its guardian
// have left is killed by the next executor on the same folder, before it starts anything.
//
// Secrets are read for each attempt from files or variables that the registry names, and masked in all that the handler prints and
// reports. A result that holds one fails the operation.
//
// The package works on Unix. It must not import a provider or anything that knows how agendas are pulled.
package process
