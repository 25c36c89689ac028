package pool

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/pop-platform/pop/core/model"
)

const (
	// logInterval is between two calls: what is printed in between goes out together.
	logInterval = 500 * time.Millisecond
	// maxLogWaiting is how much of an attempt waits to be sent. Of what is printed faster, the end counts.
	maxLogWaiting = 256 << 10
	// maxLogKept is how much of an attempt the server keeps, more or less. Of what is printed beyond, the beginning is dropped.
	maxLogKept = 1 << 20
	// maxLogWaitingAll bounds what waits of all attempts, while the server is away.
	maxLogWaitingAll = 16 << 20
	maxLogCall       = 1 << 20

	logTimeout = 10 * time.Second
)

// logs sends what operations print to the server. It is apart from the reports: nothing waits for it and nothing depends on it. An
// operation that prints nothing costs nothing.
type logs struct {
	api API
	log *slog.Logger

	mu      sync.Mutex
	waiting []*attemptLog // those that have something to send, the first that had so first
	size    int           // of what waits
	sending bool
	told    bool // that the server refuses them
	wake    chan struct{}
	idle    chan struct{} // closed and renewed when nothing is to be sent any more
	hurry   chan struct{} // closed when what waits is to be sent at once
}

// attemptLog is what an attempt of an operation has printed.
type attemptLog struct {
	run       *run
	operation string
	attempt   int

	text   []byte // what waits
	offset int64  // of its beginning
	listed bool
	sent   []sentChunk // what the server keeps
	kept   int         // bytes of it
}

type sentChunk struct {
	seq  int64
	size int
}

func newLogs(api API, log *slog.Logger) *logs {
	return &logs{api: api, log: log, wake: make(chan struct{}, 1), idle: make(chan struct{}), hurry: make(chan struct{})}
}

// attempt returns what takes in what an attempt prints.
func (l *logs) attempt(r *run, operation string, attempt int) func([]byte) {
	a := &attemptLog{run: r, operation: operation, attempt: attempt}
	return func(text []byte) { l.print(a, text) }
}

func (l *logs) print(a *attemptLog, text []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a.text = append(a.text, text...)
	l.size += len(text)
	if !a.listed {
		a.listed = true
		l.waiting = append(l.waiting, a)
	}
	l.skip(a, len(a.text)-maxLogWaiting)
	for _, oldest := range l.waiting {
		if l.size <= maxLogWaitingAll {
			break
		}
		l.skip(oldest, len(oldest.text))
	}
	signal(l.wake)
}

// skip drops at least n bytes of what waits of an attempt, up to the end of a line.
func (l *logs) skip(a *attemptLog, n int) {
	if n <= 0 {
		return
	}
	if i := bytes.IndexByte(a.text[n:], '\n'); i >= 0 {
		n += i + 1
	}
	l.forward(a, n)
}

// forward goes on behind the next n bytes that wait.
func (l *logs) forward(a *attemptLog, n int) {
	a.text = append(a.text[:0], a.text[n:]...)
	a.offset += int64(n)
	l.size -= n
}

// run sends until ctx is done.
func (l *logs) run(ctx context.Context) {
	for {
		batch, more := l.take()
		for failures := 1; len(batch) > 0; failures++ {
			callCtx, cancel := context.WithTimeout(ctx, logTimeout)
			_, err := l.api.AppendLogs(callCtx, batch)
			cancel()
			if err == nil || refusesLogs(err) {
				l.answered(err)
				break
			}
			l.log.Debug("what operations printed is not delivered, will be sent again", "failures", failures, "error", err)
			if sleep(ctx, backoff(failures)) != nil {
				return
			}
		}
		if more {
			continue
		}
		if len(batch) == 0 {
			select {
			case <-ctx.Done():
				return
			case <-l.wake:
			}
		}
		select { // what is printed next may go out with others
		case <-ctx.Done():
			return
		case <-l.hurried():
		case <-time.After(logInterval):
		}
	}
}

// refusesLogs reports whether it is of no use to send again what the server did not take in.
func refusesLogs(err error) bool {
	var answer *model.Error
	return errors.As(err, &answer) && answer.Kind != model.Unavailable && answer.Kind != model.Internal
}

func (l *logs) hurried() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hurry
}

// take returns the chunks of the next call, and whether there are more.
func (l *logs) take() (batch []model.LogAppend, more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, size := time.Now().UTC(), 0
	for len(l.waiting) > 0 && len(batch) < maxReports && size < maxLogCall {
		a := l.waiting[0]
		if len(a.text) == 0 {
			a.listed = false
			l.waiting = l.waiting[1:]
			continue
		}
		n := cut(a.text, model.MaxLogText)
		a.run.logSeq++
		chunk := model.LogAppend{SessionID: a.run.sessionID, LogChunk: model.LogChunk{
			Lease: a.run.Lease, Operation: a.operation, Attempt: a.attempt, Seq: a.run.logSeq, Offset: a.offset, Time: now,
			Text: string(bytes.ToValidUTF8(a.text[:n], []byte("\uFFFD"))),
		}}
		if len(chunk.Text) > model.MaxLogText {
			chunk.Text = chunk.Text[:cut([]byte(chunk.Text), model.MaxLogText)]
		}
		l.forward(a, n)
		a.sent = append(a.sent, sentChunk{chunk.Seq, n})
		for a.kept += n; a.kept > maxLogKept; a.sent = a.sent[1:] {
			chunk.Drop = append(chunk.Drop, a.sent[0].seq)
			a.kept -= a.sent[0].size
		}
		batch = append(batch, chunk)
		size += n
	}
	l.sending = len(batch) > 0
	if !l.sending {
		close(l.idle)
		l.idle = make(chan struct{})
	}
	return batch, len(batch) > 0 && len(l.waiting) > 0
}

// cut returns where to cut a text so that it has at most n bytes: behind a line, or else between characters.
func cut(text []byte, n int) int {
	if len(text) <= n {
		return len(text)
	}
	if i := bytes.LastIndexByte(text[:n], '\n'); i >= 0 {
		return i + 1
	}
	for i := n; i > n-utf8.UTFMax; i-- {
		if utf8.RuneStart(text[i]) {
			return i
		}
	}
	return n
}

// answered notes what the server thinks of what it was sent.
func (l *logs) answered(err error) {
	l.mu.Lock()
	told := l.told
	l.told = err != nil
	l.mu.Unlock()
	if err != nil && !told {
		l.log.Warn("the server does not keep what operations print; they go on", "error", err)
	}
}

// flush sends what waits at once, and waits until that is done.
func (l *logs) flush(ctx context.Context) {
	l.mu.Lock()
	close(l.hurry)
	done := len(l.waiting) == 0 && !l.sending
	idle := l.idle
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.hurry = make(chan struct{})
	}()
	if done {
		return
	}
	select {
	case <-idle:
	case <-ctx.Done():
	}
}
