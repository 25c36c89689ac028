package apply

import (
	"context"
	"errors"

	"github.com/pop-platform/pop/cmd/pop/internal/objects"
	"github.com/pop-platform/pop/core/client"
	"github.com/pop-platform/pop/core/model"
)

// Change is what applying an object does.
type Change string

// The changes.
const (
	Created   Change = "created"
	Updated   Change = "updated"
	Unchanged Change = "unchanged"
)

// Step is one object to apply, and what that does.
type Step struct {
	Manifest
	Change Change
	etag   string // of what is there
}

// Plan compares objects with those of the server. It changes nothing.
func Plan(ctx context.Context, c *client.Client, manifests []Manifest) ([]Step, []Problem, error) {
	pools := map[string]bool{} // whether they are there
	for _, m := range manifests {
		if m.Kind == objects.ResourcePool {
			pools[m.ID] = true
		}
	}
	steps := make([]Step, 0, len(manifests))
	var problems []Problem
	for _, m := range manifests {
		if _, known := pools[m.Pool]; !known && m.Pool != "" {
			_, _, err := objects.ResourcePool.Get(ctx, c, m.Pool)
			if err != nil && model.KindOf(err) != model.NotFound {
				return nil, nil, err
			}
			pools[m.Pool] = err == nil
		}
		if m.Pool != "" && !pools[m.Pool] {
			problems = append(problems, m.problem("resourcePoolId", "there is no resource pool %q, neither here nor on the server", m.Pool))
		}
		step := Step{Manifest: m, Change: Created}
		stored, etag, err := m.Kind.Get(ctx, c, m.ID)
		switch {
		case model.KindOf(err) == model.NotFound:
		case err != nil:
			return nil, nil, err
		case objects.Same(m.Object, stored):
			step.Change = Unchanged
		default:
			step.Change, step.etag = Updated, etag
		}
		steps = append(steps, step)
	}
	return steps, problems, nil
}

// Do applies one object. What the server has against it is returned as problems; any other failure is an error.
func (s *Step) Do(ctx context.Context, c *client.Client) ([]Problem, error) {
	if s.Change == Unchanged {
		return nil, nil
	}
	err := s.Kind.Replace(ctx, c, s.Object, s.etag)
	var refused *model.Error
	switch {
	case err == nil:
		return nil, nil
	case !errors.As(err, &refused):
		return nil, err
	case refused.Kind == model.Stale:
		return []Problem{s.problem("", "somebody else changed %s %q at the same time; apply again", s.Kind.Name(), s.ID)}, nil
	case refused.Kind != model.Invalid && refused.Kind != model.Forbidden:
		return nil, err
	case len(refused.Issues) == 0:
		return []Problem{s.problem("", "%s", refused.Detail)}, nil
	}
	var problems []Problem
	for _, issue := range refused.Issues {
		problems = append(problems, s.problem(issue.Path, "%s", issue.Message))
	}
	return problems, nil
}
