package drivertest_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pop-platform/pop/plugins/driver"
)

// remembered returns a hook that gives edit the record that is there before each operation, expired or not.
func remembered(edit func(rig storeRig, op *driver.Op, last *driver.Record)) func(storeRig) storeHooks {
	return func(rig storeRig) storeHooks {
		var mu sync.Mutex
		last := map[driver.Key]driver.Record{}
		return storeHooks{write: editing(func(op *driver.Op) {
			mu.Lock()
			defer mu.Unlock()
			before, known := last[op.Record.Key]
			if op.Type == driver.Put {
				last[op.Record.Key] = op.Record
			}
			if known {
				edit(rig, op, &before)
			}
		})}
	}
}

// judged returns a hook that changes the results of groups that were written or refused.
func judged(change func(rig storeRig, group driver.Group, res *driver.WriteResult)) func(storeRig) storeHooks {
	return func(rig storeRig) storeHooks {
		return storeHooks{write: after(func(req driver.WriteRequest, resp *driver.WriteResponse) {
			for i := range resp.Results {
				change(rig, req.Groups[i], &resp.Results[i])
			}
		})}
	}
}

var brokenWrites = map[string]storeFlaw{
	"takes an empty version for absent": {
		clause: "conditions hold as they should for every operation",
		hooks: func(storeRig) storeHooks {
			return storeHooks{write: editing(func(op *driver.Op) {
				if op.Cond == driver.IfVersion && op.Version == "" {
					op.Cond = driver.IfAbsent
				}
			})}
		},
	},
	"takes its condition from the record": {
		clause: "Put takes its condition from the Op and not from the record's version",
		hooks: func(storeRig) storeHooks {
			return storeHooks{write: editing(func(op *driver.Op) {
				if op.Record.Version != "" && op.Cond == driver.Always {
					op.Cond, op.Version = driver.IfVersion, op.Record.Version
				}
			})}
		},
	},
	"writes over the beginning of a body": {
		clause: "Put replaces the whole record",
		hooks: remembered(func(_ storeRig, op *driver.Op, last *driver.Record) {
			if op.Type == driver.Put && strings.HasPrefix(string(last.Body), "long") {
				op.Record.Body = append(slices.Clone(op.Record.Body), last.Body[len(op.Record.Body):]...)
			}
		}),
	},
	"does not write what is there already": {
		clause: "versions change with every write, even of the same record",
		hooks: func(rig storeRig) storeHooks {
			return storeHooks{write: func(ctx context.Context, req driver.WriteRequest, next writer) (driver.WriteResponse, error) {
				if len(req.Groups) == 1 && len(req.Groups[0]) == 1 && req.Groups[0][0].Cond == driver.Always {
					op := req.Groups[0][0]
					if r := getOne(ctx, rig.raw, op.Record.Key); op.Type == driver.Put && r != nil && string(r.Body) == "same" && string(op.Record.Body) == "same" {
						return driver.WriteResponse{Results: []driver.WriteResult{{Versions: []driver.Version{r.Version}}}}, nil
					}
				}
				return next(ctx, req)
			}}
		},
	},
	"makes versions of bodies": {
		clause: "a version from before a Delete never matches again",
		hooks: func(rig storeRig) storeHooks {
			var bodies sync.Map // by version
			return storeHooks{write: func(ctx context.Context, req driver.WriteRequest, next writer) (driver.WriteResponse, error) {
				edit := editing(func(op *driver.Op) {
					body, known := bodies.Load(op.Version)
					if r := getOne(ctx, rig.raw, op.Record.Key); known && r != nil && string(r.Body) == body {
						op.Version = r.Version
					}
				})
				resp, err := edit(ctx, req, next)
				for i, res := range resp.Results {
					for j, v := range res.Versions {
						bodies.Store(v, string(req.Groups[i][j].Record.Body))
					}
				}
				return resp, err
			}}
		},
	},
	"touches what it checks": {
		clause: "a Check changes nothing",
		hooks: judged(func(rig storeRig, group driver.Group, res *driver.WriteResult) {
			if op := only(group); op.Type == driver.Check && op.Cond == driver.IfVersion && res.Err == nil {
				ctx := context.Background()
				_, _ = writeOne(ctx, rig.raw.Write, driver.Op{Record: *getOne(ctx, rig.raw, op.Record.Key)})
			}
		}),
	},
	"tires of deleting": {
		clause: "Delete is idempotent",
		hooks: func(storeRig) storeHooks {
			var mu sync.Mutex
			deleted := map[driver.Key]int{}
			return storeHooks{write: refusingOps(driver.Internal, func(op driver.Op) bool {
				mu.Lock()
				defer mu.Unlock()
				if op.Type == driver.Delete && op.Cond == driver.Always {
					deleted[op.Record.Key]++
				} else {
					deleted[op.Record.Key] = 0
				}
				return deleted[op.Record.Key] > 2
			})}
		},
	},
	"hides what is there": {
		clause: "a conflict carries the record that is there, if that is declared",
		hooks:  judged(func(_ storeRig, _ driver.Group, res *driver.WriteResult) { res.Current = nil }),
	},
	"calls what is too large invalid": {
		clause: "a Body may have MaxRecordBytes and no more",
		hooks: func(storeRig) storeHooks {
			return storeHooks{write: func(ctx context.Context, req driver.WriteRequest, next writer) (driver.WriteResponse, error) {
				resp, err := next(ctx, req)
				if driver.CodeOf(err) == driver.TooLarge && strings.Contains(err.Error(), "body") {
					err = driver.Errorf(driver.Invalid, "write", "too large")
				}
				return resp, err
			}}
		},
	},
	"takes a key twice": {
		clause: "one call may not name a key twice",
		hooks: func(storeRig) storeHooks {
			return storeHooks{write: func(ctx context.Context, req driver.WriteRequest, next writer) (driver.WriteResponse, error) {
				resp, err := next(ctx, req)
				if err == nil || !strings.Contains(err.Error(), "named by two") {
					return resp, err
				}
				var results []driver.WriteResult
				for _, g := range req.Groups {
					res, err := writeOne(ctx, next, g...)
					if err != nil {
						return driver.WriteResponse{}, err
					}
					results = append(results, res)
				}
				return driver.WriteResponse{Results: results}, nil
			}}
		},
	},
	"takes an unknown operation for another": {
		clause: "operations and conditions that do not exist are Invalid",
		hooks: func(storeRig) storeHooks {
			return storeHooks{write: editing(func(op *driver.Op) {
				op.Type = min(op.Type, driver.Check)
				op.Cond = min(op.Cond, driver.IfVersion)
			})}
		},
	},
	"wants something to write": {
		clause: "Write of nothing succeeds",
		hooks:  refusingGroups(driver.Invalid, func(groups []driver.Group) bool { return len(groups) == 0 }),
	},
	"applies the first operation of a group that fails": {
		clause: "a group is applied as a whole or not at all",
		hooks: judged(func(rig storeRig, group driver.Group, res *driver.WriteResult) {
			if res.Failed > 0 && group[0].Cond == driver.Always && len(group[0].Record.Index) == 0 {
				_, _ = writeOne(context.Background(), rig.raw.Write, group[0])
			}
		}),
	},
	"forgets the deletes of a group": {
		clause: "a group whose conditions hold is applied as a whole",
		hooks: func(storeRig) storeHooks {
			return storeHooks{write: func(ctx context.Context, req driver.WriteRequest, next writer) (driver.WriteResponse, error) {
				if len(req.Groups) != 1 || len(req.Groups[0]) < 2 {
					return next(ctx, req)
				}
				return editing(func(op *driver.Op) {
					if op.Type == driver.Delete {
						op.Type = driver.Check
					}
				})(ctx, req, next)
			}}
		},
	},
	"fails all groups for one": {
		clause: "groups do not depend on each other, and have one result each in order",
		hooks: func(storeRig) storeHooks {
			return storeHooks{write: after(func(_ driver.WriteRequest, resp *driver.WriteResponse) {
				if i := slices.IndexFunc(resp.Results, func(res driver.WriteResult) bool { return res.Err != nil }); i >= 0 {
					for j := range resp.Results {
						resp.Results[j] = resp.Results[i]
					}
				}
			})}
		},
	},
	"does not split a Write": {
		clause: "one call takes 1,000 groups",
		hooks:  refusingGroups(driver.TooLarge, func(groups []driver.Group) bool { return len(groups) > 500 }),
	},
	"takes a limit for what is too much": {
		clause: "a group may have MaxGroupOps operations and no more",
		hooks: refusingGroups(driver.TooLarge, func(groups []driver.Group) bool {
			return slices.ContainsFunc(groups, func(g driver.Group) bool { return len(g) == 100 })
		}),
	},
	"shows what has expired in a conflict": {
		clause: "an expired record is absent",
		hooks: func(rig storeRig) storeHooks {
			var old sync.Map
			return storeHooks{write: after(func(req driver.WriteRequest, resp *driver.WriteResponse) {
				for i, g := range req.Groups {
					op := only(g)
					res := &resp.Results[i]
					if op.Type == driver.Put && res.Err == nil && op.Record.ExpireAt.Before(rig.now()) && !op.Record.ExpireAt.IsZero() {
						old.Store(op.Record.Key, &op.Record)
					}
					if r, known := old.Load(op.Record.Key); known && res.Err != nil && res.Current == nil {
						res.Current = r.(*driver.Record)
					}
				}
			})}
		},
	},
	"ends a page at what has expired": {
		clause: "expired records do not get in the way of a scan",
		hooks: func(rig storeRig) storeHooks {
			expired := 0
			return storeHooks{
				write: editing(func(op *driver.Op) {
					if !op.Record.ExpireAt.IsZero() && op.Record.ExpireAt.Before(rig.now()) {
						expired++
					}
				}),
				scan: after(func(_ driver.ScanRequest, page *driver.ScanResponse) {
					if expired > 5 {
						page.Next = ""
					}
				}),
			}
		},
	},
	"hides a record a second too early": {
		clause: "a record is there until it expires and not after",
		hooks: func(rig storeRig) storeHooks {
			return storeHooks{get: after(func(_ driver.GetRequest, resp *driver.GetResponse) {
				for i, r := range resp.Records {
					if r != nil && !r.ExpireAt.IsZero() && r.ExpireAt.Sub(rig.now()) < time.Second {
						resp.Records[i] = nil
					}
				}
			})}
		},
	},
	"keeps the expiry that a record had": {
		clause: "a Put without expiry keeps the record",
		hooks: remembered(func(rig storeRig, op *driver.Op, last *driver.Record) {
			if op.Type == driver.Put && op.Record.ExpireAt.IsZero() && last.ExpireAt.After(rig.now()) && len(last.Index) == 0 {
				op.Record.ExpireAt = last.ExpireAt
			}
		}),
	},
}

// only returns the operation of a group that has one, and else none.
func only(group driver.Group) driver.Op {
	if len(group) == 1 {
		return group[0]
	}
	return driver.Op{}
}

func refusingGroups(code driver.Code, refuse func([]driver.Group) bool) func(storeRig) storeHooks {
	return func(storeRig) storeHooks {
		return storeHooks{write: refusing[driver.WriteRequest, driver.WriteResponse](func(req driver.WriteRequest) error {
			if refuse(req.Groups) {
				return driver.Errorf(code, "write", "%d groups", len(req.Groups))
			}
			return nil
		})}
	}
}
