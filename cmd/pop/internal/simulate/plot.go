package simulate

import (
	"bufio"
	"cmp"
	"fmt"
	"html"
	"io"
	"slices"
	"strings"
)

// The plot: two panels one above the other, and the customers beside them.
const (
	plotWidth   = 900
	plotLeft    = 60
	plotRight   = 700
	panelHeight = 200
	shareTop    = 50
	waitingTop  = 310
	plotHeight  = 560
)

// palette has a colour for each customer that is shown by itself. They can be told apart by people who see few colours.
var palette = []string{"#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#999999"}

// band is what is plotted of a customer, or of those left together.
type band struct {
	name, colour string
	series       series
}

// SVG plots which customers the slots ran for, and how many of whose agendas waited, over time.
func (r *Result) SVG(w io.Writer) error {
	b := bufio.NewWriter(w)
	bands := r.bands()
	steps := 0
	for _, band := range bands {
		steps = max(steps, len(band.series.running))
	}
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(b, format+"\n", args...) } // Flush tells
	say(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`, plotWidth, plotHeight)
	say(`<rect width="%d" height="%d" fill="#fff"/>`, plotWidth, plotHeight)
	title := cmp.Or(r.Title, "Simulation") + ": " + string(r.Algorithm)
	say(`<text x="%d" y="24" font-size="15">%s</text>`, plotLeft, html.EscapeString(title))
	r.panel(say, shareTop, "agendas running", bands, steps, func(s series) []float64 { return s.running })
	r.panel(say, waitingTop, "agendas waiting", bands, steps, func(s series) []float64 { return s.waiting })
	for i, band := range bands {
		y := shareTop + 18*i
		say(`<rect x="%d" y="%d" width="12" height="12" fill="%s"/>`, plotRight+20, y, band.colour)
		say(`<text x="%d" y="%d">%s</text>`, plotRight+38, y+11, html.EscapeString(band.name))
	}
	say(`</svg>`)
	return b.Flush()
}

// bands returns the customers with most of the slots' time, and the others together.
func (r *Result) bands() []band {
	order := slices.Clone(r.Customers)
	slices.SortStableFunc(order, func(a, b Shares) int { return cmp.Compare(b.Share, a.Share) })
	var bands []band
	for i, c := range order {
		name := c.Customer
		if c.Copies > 0 {
			name = fmt.Sprintf("%s (%d)", c.Customer, c.Copies)
		}
		if i < len(palette)-1 || len(order) == len(palette) {
			bands = append(bands, band{name, palette[i], c.series})
			continue
		}
		if i == len(palette)-1 {
			bands = append(bands, band{name: fmt.Sprintf("%d others", len(order)-i), colour: palette[i]})
		}
		bands[len(bands)-1].series.include(c.series)
	}
	return bands
}

// panel draws what bands have, one on top of the other.
func (r *Result) panel(say func(string, ...any), top int, label string, bands []band, steps int, of func(series) []float64) {
	total := make([]float64, steps)
	for _, band := range bands {
		for i, v := range of(band.series) {
			total[i] += v / r.span(i)
		}
	}
	most := max(1, slices.Max(append(total, 0)))
	bottom := top + panelHeight
	x := func(step int) float64 {
		seconds := min(float64(step)*r.width, r.Seconds)
		return plotLeft + (plotRight-plotLeft)*seconds/max(r.Seconds, 1e-9)
	}
	y := func(v float64) float64 { return float64(bottom) - panelHeight*v/most }
	below := make([]float64, steps)
	for _, band := range bands {
		above := slices.Clone(below)
		for i, v := range of(band.series) {
			above[i] += v / r.span(i)
		}
		var path strings.Builder
		for i, v := range above {
			_, _ = fmt.Fprintf(&path, "%.1f,%.1f %.1f,%.1f ", x(i), y(v), x(i+1), y(v)) // a builder takes all
		}
		for i, v := range slices.Backward(below) {
			_, _ = fmt.Fprintf(&path, "%.1f,%.1f %.1f,%.1f ", x(i+1), y(v), x(i), y(v))
		}
		say(`<polygon points="%s" fill="%s"/>`, strings.TrimSpace(path.String()), band.colour)
		below = above
	}
	say(`<path d="M%d %dV%dH%d" fill="none" stroke="#333"/>`, plotLeft, top, bottom, plotRight)
	say(`<text x="%d" y="%d">%s</text>`, plotLeft, top-6, label)
	say(`<text x="%d" y="%d" text-anchor="end">%.4g</text>`, plotLeft-6, top+10, most)
	say(`<text x="%d" y="%d" text-anchor="end">0</text>`, plotLeft-6, bottom)
	for i := range 5 {
		at := float64(i) / 4
		say(`<text x="%.1f" y="%d" text-anchor="middle">%s</text>`, plotLeft+(plotRight-plotLeft)*at, bottom+16, clock(r.Seconds*at))
	}
}

// span returns how many seconds of a column there were: the last may have been cut short.
func (r *Result) span(column int) float64 {
	return max(1e-9, min(r.width, r.Seconds-float64(column)*r.width))
}

// clock writes seconds as people do.
func clock(seconds float64) string {
	switch {
	case seconds >= 7200:
		return fmt.Sprintf("%.3gh", seconds/3600)
	case seconds >= 120:
		return fmt.Sprintf("%.3gm", seconds/60)
	default:
		return fmt.Sprintf("%.3gs", seconds)
	}
}
