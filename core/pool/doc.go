// Package pool is the resource-pool side of POP. A [Puller] pulls agendas for its insights as long as it has free slots, runs
// their operations through a [Launcher], each as soon as its inputs are there, and reports what becomes of them.
//
// What a run does:
//
//   - Operations that have succeeded in an earlier attempt are not run again; their stored results are used. All others run
//     again and are handed their last progress.
//   - After the first failure no operation is started any more. Those that run are left to end, because their effects may not
//     bear an interruption; then the run is reported as failed. Operations that were not started stay WAITING.
//   - A failure that another attempt would only repeat carries [model.StatusNonRetryable].
//   - A run whose lease is lost is stopped at once and says nothing any more.
//   - When the puller is told to stop, it waits for its runs; those that take too long are stopped and handed back.
//
// Reports of all runs go out together. A run that ends quickly costs one report; of a longer one the start, each operation's
// end and, at a low rate, the progress are reported. A final report is repeated until it is taken in or the lease is lost.
//
// The package imports core/model and core/workflow. It must not import a provider, the engine or the client: the server is
// what [API] says.
package pool
