package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pop-platform/pop/core/api/wire"
	"github.com/pop-platform/pop/core/authz"
	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/plugins/driver"
)

const (
	tagProgress  = "agenda-progress"
	tagOperation = "operation-progress"
)

// streamBeat is how often a stream of events says that it is alive when nothing happens.
const streamBeat = 15 * time.Second

type awaitInput struct {
	ID          string `path:"id"`
	WaitMs      int64  `query:"waitMs" minimum:"0" maximum:"30000" doc:"How long to wait for a change, in milliseconds."`
	Seen        string `query:"seen" doc:"Entity tag of the progress that the caller knows. Without it the answer comes at once."`
	IfNoneMatch string `header:"If-None-Match" doc:"Entity tags that the caller has; if the progress still has one of them the answer is 304."`
}

type progressOutput struct {
	Status int
	ETag   string `header:"ETag" doc:"Changes with every change of the progress."`
	Body   model.AgendaProgress
}

type operationListInput struct {
	AgendaProgressID string `query:"agendaProgressId" required:"true" doc:"Id of the agenda."`
}

type operationOutput struct {
	Body model.OperationProgress
}

func (a *API) addProgress() {
	register(a, operation(http.MethodGet, "/v1/agenda-progress", "list-agenda-progress", "List the progress of agendas, without operations", tagProgress, access{role: driver.RoleRead}),
		func(ctx context.Context, in *AgendaListInput) (*listOutput[model.AgendaProgress], error) {
			page, err := a.listProgress(ctx, in)
			if err != nil {
				return nil, err
			}
			return &listOutput[model.AgendaProgress]{wire.List[model.AgendaProgress]{
				Items: orEmpty(page.Progress), Next: cursorTo(page.Next),
			}}, nil
		})

	get := operation(http.MethodGet, "/v1/agenda-progress/{id}", "get-agenda-progress", "Get the progress of an agenda and its operations, or wait for it to change",
		tagProgress, access{role: driver.RoleRead, waits: true})
	answer[nothing](a, &get, http.StatusNotModified)
	register(a, get, a.awaitProgress)

	events := operation(http.MethodGet, "/v1/agenda-progress/{id}/events", "watch-agenda-progress", "Stream the progress of an agenda until it is COMPLETE",
		tagProgress, access{role: driver.RoleRead, waits: true})
	events.Description = "Server-sent events of type progress: the id is the entity tag, the data an AgendaProgress."
	events.Responses = map[string]*huma.Response{"200": {
		Description: "OK", Content: map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString}}},
	}}
	register(a, events, a.streamProgress)

	register(a, operation(http.MethodGet, "/v1/operation-progress", "list-operation-progress", "List the progress of an agenda's operations", tagOperation, access{role: driver.RoleRead}),
		func(ctx context.Context, in *operationListInput) (*listOutput[model.OperationProgress], error) {
			progress, _, err := a.progress(ctx, in.AgendaProgressID, "", 0)
			return &listOutput[model.OperationProgress]{wire.List[model.OperationProgress]{Items: orEmpty(progress.Operations)}}, err
		})
	register(a, operation(http.MethodGet, "/v1/operation-progress/{id}", "get-operation-progress", "Get the progress of an operation", tagOperation, access{role: driver.RoleRead}),
		a.operationProgress)
}

// progress returns the progress of an agenda if the caller can see it, as soon as it differs from what was seen or the wait is over.
func (a *API) progress(ctx context.Context, id string, seen driver.Version, wait time.Duration) (model.AgendaProgress, driver.Version, error) {
	progress, version, err := a.Engine.Progress(ctx, id)
	if err == nil && !authz.ActsFor(caller(ctx), progress.CustomerID) {
		err = model.Errorf(model.NotFound, "there is no agenda %q", id)
	}
	if err != nil || wait <= 0 || version != seen {
		return progress, version, err
	}
	waiting, cancel := a.waiting(ctx)
	defer cancel()
	later, newer, err := a.Engine.Await(waiting, id, seen, wait)
	if errors.Is(err, context.Canceled) && ctx.Err() == nil { // the server drains
		return progress, version, nil
	}
	return later, newer, err
}

func (a *API) awaitProgress(ctx context.Context, in *awaitInput) (*progressOutput, error) {
	progress, version, err := a.progress(ctx, in.ID, versionOf(in.Seen), time.Duration(in.WaitMs)*time.Millisecond)
	if err != nil {
		return nil, err
	}
	out := &progressOutput{Status: http.StatusOK, ETag: etag(version), Body: progress}
	if in.IfNoneMatch != "" && matches(in.IfNoneMatch, version) {
		out.Status = http.StatusNotModified
	}
	return out, nil
}

func (a *API) streamProgress(ctx context.Context, in *idInput) (*huma.StreamResponse, error) {
	progress, version, err := a.progress(ctx, in.ID, "", 0)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		hc.SetHeader("Content-Type", "text/event-stream")
		hc.SetHeader("Cache-Control", "no-store")
		if hc.Method() == http.MethodHead {
			return
		}
		w := hc.BodyWriter()
		for {
			if err := sendEvent(w, progress, version); err != nil || progress.State == model.Complete {
				return
			}
			for seen := version; version == seen; {
				if progress, version, err = a.progress(ctx, in.ID, seen, streamBeat); err != nil || a.draining.Err() != nil {
					return // deleted, gone or draining: the caller connects again if it wants to know
				}
				if version == seen && beat(w) != nil {
					return
				}
			}
		}
	}}, nil
}

// sendEvent sends one event of a stream.
func sendEvent(w io.Writer, progress model.AgendaProgress, version driver.Version) error {
	data, err := json.Marshal(progress)
	if err != nil {
		return err
	}
	return send(w, fmt.Sprintf("id: %s\nevent: progress\ndata: %s\n\n", strings.Trim(etag(version), `"`), data))
}

func beat(w io.Writer) error { return send(w, ": alive\n\n") }

// send writes to a stream at once, and gives up on a reader that takes nothing.
func send(w io.Writer, text string) error {
	if rw, ok := w.(http.ResponseWriter); ok {
		control := http.NewResponseController(rw)
		_ = control.SetWriteDeadline(time.Now().Add(writeTimeout)) // not supported by recorders in tests
		if _, err := io.WriteString(rw, text); err != nil {
			return err
		}
		return control.Flush()
	}
	_, err := io.WriteString(w, text)
	return err
}

// operationProgress finds an operation by its id, which begins with that of its agenda.
func (a *API) operationProgress(ctx context.Context, in *idInput) (*operationOutput, error) {
	absent := model.Errorf(model.NotFound, "there is no operation progress %q", in.ID)
	const idLength = len("00000000-0000-0000-0000-000000000000") // of an agenda's
	if len(in.ID) <= idLength {
		return nil, absent
	}
	progress, _, err := a.progress(ctx, in.ID[:idLength], "", 0)
	if err != nil && model.KindOf(err) == model.NotFound {
		return nil, absent
	}
	if err != nil {
		return nil, err
	}
	for _, op := range progress.Operations {
		if op.ID == in.ID {
			return &operationOutput{op}, nil
		}
	}
	return nil, absent
}

func orEmpty[T any](items []T) []T {
	if items == nil {
		return []T{}
	}
	return items
}
