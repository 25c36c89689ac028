package simulate_test

import (
	"path/filepath"
	"testing"

	"github.com/pop-platform/pop/cmd/pop/internal/simulate"
	"github.com/pop-platform/pop/core/model"
)

const examples = "../../../../examples/fairness"

func run(t *testing.T, file string, algorithm model.SchedulingAlgorithm) (*simulate.Result, map[string]simulate.Shares) {
	t.Helper()
	s, err := simulate.Load(filepath.Join(examples, file))
	if err != nil {
		t.Fatal(err)
	}
	if algorithm != "" {
		s.Insight.SchedulingAlgorithm = algorithm
	}
	r, err := simulate.Run(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	customers := map[string]simulate.Shares{}
	for _, c := range r.Customers {
		customers[c.Customer] = c
	}
	return r, customers
}

func within(got, low, high float64) bool { return got >= low && got <= high }

// expectations say of each example what it is there to show.
var expectations = map[string]func(t *testing.T, r *simulate.Result, c map[string]simulate.Shares){
	"noisy-neighbour.yaml": func(t *testing.T, r *simulate.Result, c map[string]simulate.Shares) {
		if last := c["quiet"].Max / r.Seconds; last > 0.11 {
			t.Errorf("the last of the quiet customers' agendas starts at %.3f of the time", last)
		}
		if r.Newcomer > 99 {
			t.Errorf("the first agenda of one of 100 customers waited for %d of others", r.Newcomer)
		}
		fifo, without := run(t, "noisy-neighbour.yaml", model.FirstInFirstOut)
		if first := without["quiet"].P50 / fifo.Seconds; first < 0.9 {
			t.Errorf("first in, first out starts half of the quiet customers' agendas by %.3f of the time", first)
		}
		if ratio := r.Seconds / fifo.Seconds; ratio > 1.05 {
			t.Errorf("the work takes %.3f times as long as first in, first out", ratio)
		}
	},
	"weights.yaml": func(t *testing.T, r *simulate.Result, c map[string]simulate.Shares) {
		for id, want := range map[string]float64{"bronze": (1./8 + 2./11) / 2, "silver": (2./8 + 4./11) / 2, "gold": (5./8 + 5./11) / 2} {
			if got := c[id].Share; !within(got, want*0.99, want*1.01) || !within(c[id].Fair, 0.99, 1.01) {
				t.Errorf("%s has %.4f of the slots' time, want %.4f; %.3f of its fair share", id, got, want, c[id].Fair)
			}
		}
		if r.Jain < 0.9999 || r.JainOver == 0 {
			t.Errorf("Jain's index is %v over %d services", r.Jain, r.JainOver)
		}
	},
	"newcomer.yaml": func(t *testing.T, r *simulate.Result, c map[string]simulate.Shares) {
		if r.Newcomer > 20 {
			t.Errorf("the newcomer waited for %d agendas of 20 others", r.Newcomer)
		}
		// 20 of others and 5 on the queue, at 5 a second.
		if c["newcomer"].P50 > 5 || c["newcomer"].Started < 100 {
			t.Errorf("half of %d agendas of the newcomer waited %v s or more", c["newcomer"].Started, c["newcomer"].P50)
		}
	},
	"run-times.yaml": func(t *testing.T, r *simulate.Result, c map[string]simulate.Shares) {
		for id, customer := range c {
			if !within(customer.Share, 0.32, 0.35) {
				t.Errorf("%s has %.3f of the slots' time, want a third", id, customer.Share)
			}
		}
		s, err := simulate.Load(filepath.Join(examples, "run-times.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		s.Insight.Cost = model.CostAgenda
		counted, err := simulate.Run(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		if share := counted.Customers[0].Share; share < 0.8 {
			t.Errorf("counted by the agenda, the long ones have %.3f of the slots' time", share)
		}
	},
	"limits.yaml": func(t *testing.T, r *simulate.Result, c map[string]simulate.Shares) {
		// Three slots of 20 are its cap, of which it has some on the queue; 30 a minute and a burst; 500 in each half hour.
		if got := c["capped"].Share; !within(got, 0.05, 0.15) {
			t.Errorf("the capped customer has %.3f of the slots' time", got)
		}
		if got := c["rated"].Started; !within(float64(got), 1790, 1805) {
			t.Errorf("%d agendas of the rated customer started", got)
		}
		if got := c["rationed"].Started; got != 1000 {
			t.Errorf("%d agendas of the rationed customer started", got)
		}
		if r.Busy < 0.999 {
			t.Errorf("the slots were busy for %.4f of their time, though there was work", r.Busy)
		}
		for id, reason := range map[string]string{"capped": "CUSTOMER_CAP", "rated": "RATE_LIMIT", "rationed": "QUOTA"} {
			if c[id].ParkedSeconds[reason] < 1800 {
				t.Errorf("%s was parked: %v", id, c[id].ParkedSeconds)
			}
		}
	},
	"priorities.yaml": func(t *testing.T, r *simulate.Result, c map[string]simulate.Shares) {
		if got := c["interactive"].P50; got > 10 {
			t.Errorf("half of the urgent agendas waited for %v s or more", got)
		}
		// All of the batch is ready at the start, so what comes more than 5 × 300 s after it goes behind it: before it go the urgent
		// agendas of 1500 s, of 4 s on 4 slots, and no more.
		if got, most := c["batch"].Max, (3000+1500*0.25)*1.1; got > most {
			t.Errorf("an agenda of the batch waited for %v s, at most %v are expected", got, most)
		}
		if c["interactive"].Max < 1000 {
			t.Errorf("urgent agendas that come after 1500 s wait for the batch, the longest waited for %v s", c["interactive"].Max)
		}
		if c["batch"].Ended != 3000 {
			t.Errorf("%d of the batch have ended", c["batch"].Ended)
		}
	},
	"maintenance.yaml": func(t *testing.T, r *simulate.Result, c map[string]simulate.Shares) {
		if got := c["globex"].ParkedSeconds["CUSTOMER_PAUSED"]; !within(got, 3590, 3600) {
			t.Errorf("globex was parked for %v s", got)
		}
		if r.Jain < 0.99 {
			t.Errorf("Jain's index is %v", r.Jain)
		}
	},
	"trace.yaml": func(t *testing.T, r *simulate.Result, c map[string]simulate.Shares) {
		if r.Started != 140 || c["acme"].Weight != 2 || c["globex"].Submitted != 40 || r.Waiting != 0 {
			t.Errorf("%d agendas started, %+v", r.Started, c)
		}
		if c["initech"].P50 > c["acme"].P50 {
			t.Errorf("initech asks for little and waits for %v s, acme for %v s", c["initech"].P50, c["acme"].P50)
		}
	},
}

func TestEachExampleShowsWhatItIsThereFor(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(examples, "*.yaml"))
	if err != nil || len(files) != len(expectations) {
		t.Fatalf("%d examples, %d expectations, %v", len(files), len(expectations), err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			expect := expectations[name]
			if expect == nil {
				t.Fatal("nothing is expected of it")
			}
			r, customers := run(t, name, "")
			if !r.Holds || r.Bound > 0 && r.Lag > r.Bound*1.001 {
				t.Errorf("a lag of %v at a bound of %v", r.Lag, r.Bound)
			}
			expect(t, r, customers)
		})
	}
}
