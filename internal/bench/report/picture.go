package main

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// A picture has a panel for each store, with a curve for each subject. Both axes are
// logarithmic and, in all panels, of the same length by the factor that they span. So a
// distance is a factor, the same in all panels.
const (
	columns      = 3
	panelWidth   = 250 * vg.Length(1)
	panelHeight  = 170 * vg.Length(1)
	headerHeight = 54 * vg.Length(1)
	margin       = 8 * vg.Length(1)
)

// look is how a subject is drawn. The colors can be told apart by those who see fewer.
type look struct {
	via, name string
	color     color.RGBA
	width     vg.Length
	dashes    []vg.Length
	shape     draw.GlyphDrawer
}

var looks = []look{
	{"ours", "this library", color.RGBA{0x00, 0x5f, 0xa3, 0xff}, 2.2, nil, draw.CircleGlyph{}},
	{"scs", "scs", color.RGBA{0xd9, 0x8a, 0x00, 0xff}, 1.3, nil, draw.SquareGlyph{}},
	{"scs-sliding", "scs, sliding expiry", color.RGBA{0xc2, 0x3b, 0x22, 0xff}, 1.3, []vg.Length{5, 2}, draw.TriangleGlyph{}},
	{"bare", "bare driver (memory: Flamego alone)", color.RGBA{0x77, 0x77, 0x77, 0xff}, 1.3, []vg.Length{2, 2}, draw.CrossGlyph{}},
}

func pictureTitle(s *sweep, c string) string {
	return fmt.Sprintf("To %s: microseconds per request, by %s", caseNames[c], s.name)
}

func init() { plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"} }

// picture returns the curves of a case as SVG; nil if there are none.
func picture(res *results, s *sweep, c string, points []*point) ([]byte, error) {
	var panels []*plot.Plot
	for _, store := range allStores {
		p, err := panel(res, s, c, store, points)
		if err != nil {
			return nil, err
		}
		if p != nil {
			panels = append(panels, p)
		}
	}
	if len(panels) == 0 {
		return nil, nil
	}
	sameScale(panels)
	rows := (len(panels) + columns - 1) / columns
	canvas := vgsvg.New(columns*panelWidth, vg.Length(rows)*panelHeight+headerHeight)
	all := draw.New(canvas)
	all.SetColor(color.White)
	all.Fill(all.Path())
	drawHeader(draw.Crop(all, margin, -margin, vg.Length(rows)*panelHeight, 0),
		pictureTitle(s, c))

	tiles := draw.Tiles{Cols: columns, Rows: rows, PadX: margin, PadY: margin, PadLeft: margin, PadRight: margin, PadBottom: margin}
	grid := make([][]*plot.Plot, rows)
	for i := range grid {
		grid[i] = make([]*plot.Plot, columns)
		copy(grid[i], panels[i*columns:min(len(panels), (i+1)*columns)])
	}
	for i, row := range plot.Align(grid, tiles, draw.Crop(all, 0, 0, 0, -headerHeight)) {
		for j, at := range row {
			if grid[i][j] != nil {
				grid[i][j].Draw(at)
			}
		}
	}
	var svg bytes.Buffer
	if _, err := canvas.WriteTo(&svg); err != nil {
		return nil, err
	}
	return withFonts(svg.Bytes()), nil
}

// withFonts names fonts that readers have.
func withFonts(svg []byte) []byte {
	return bytes.ReplaceAll(svg, []byte("font-family:Liberation Sans;font-variant:normal;"),
		[]byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif;"))
}

// drawHeader draws the title and, below it in one line, the legend.
func drawHeader(c draw.Canvas, title string) {
	c.FillText(textStyle(13), vg.Point{X: c.Min.X, Y: c.Max.Y - 18}, title)
	x := c.Min.X
	for _, l := range looks {
		legend := plot.NewLegend()
		legend.Left, legend.Top, legend.TextStyle, legend.ThumbnailWidth = true, true, textStyle(10), 26
		legend.Add(l.name, l.thumbnails()...)
		at := draw.Crop(c, x-c.Min.X, 0, 0, -26)
		legend.Draw(at)
		x += legend.Rectangle(at).Size().X + 22
	}
}

func textStyle(size vg.Length) text.Style {
	return text.Style{Font: font.From(plot.DefaultFont, size), Color: color.Black, Handler: plot.DefaultTextHandler}
}

func (l *look) line(points plotter.XYs) (*plotter.Line, *plotter.Scatter, error) {
	line, marks, err := plotter.NewLinePoints(points)
	if err != nil {
		return nil, nil, err
	}
	line.Color, line.Width, line.Dashes = l.color, l.width, l.dashes
	marks.GlyphStyle = draw.GlyphStyle{Color: l.color, Radius: 2.4, Shape: l.shape}
	return line, marks, nil
}

func (l *look) thumbnails() []plot.Thumbnailer {
	line, marks, err := l.line(plotter.XYs{{X: 1, Y: 1}})
	if err != nil {
		panic(err) // the point is a number
	}
	return []plot.Thumbnailer{line, marks}
}

// panel returns the curves of one store; nil if it has none.
func panel(res *results, s *sweep, c, store string, points []*point) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = store
	p.Title.TextStyle.Font.Size, p.Title.Padding = 12, 4
	p.X.Label.Text, p.Y.Label.Text = s.name, "µs"
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Label.TextStyle.Font.Size, axis.Tick.Label.Font.Size = 10, 9
		axis.Padding = 0
	}
	var ticks plot.ConstantTicks // of all stores
	for _, pt := range points {
		tick := plot.Tick{Value: pt.at, Label: s.label(pt.at)}
		if pt.session != "struct" && !slices.Contains(ticks, tick) {
			ticks = append(ticks, tick)
		}
	}
	low, high := math.Inf(1), 0.0
	var curves []plot.Plotter
	for i := len(looks) - 1; i >= 0; i-- { // ours is on top
		var curve plotter.XYs
		for _, pt := range points {
			f := res.get(pt.name(c, looks[i].via), "ns/op")
			if pt.store != store || pt.session == "struct" || f.n == 0 {
				continue
			}
			us := f.median / 1000
			curve = append(curve, plotter.XY{X: pt.at, Y: us})
			low, high = min(low, us), max(high, us)
		}
		if len(curve) < 2 {
			continue
		}
		line, marks, err := looks[i].line(curve)
		if err != nil {
			return nil, err
		}
		curves = append(curves, line, marks)
	}
	if len(curves) == 0 {
		return nil, nil
	}
	p.X.Tick.Marker, p.Y.Tick.Marker = ticks, plot.TickerFunc(decades)
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = color.Gray{0xe4}, color.Gray{0xe4}
	p.Add(grid)
	p.Add(curves...)
	p.Y.Min, p.Y.Max = low/1.3, high*1.3
	return p, nil
}

// sameScale has all panels begin and end at the same x, and span the same factor of y, each
// around its own curves. The factor is ten at least, so that each axis has several numbers.
func sameScale(panels []*plot.Plot) {
	low, high, factor := math.Inf(1), 0.0, 10.0
	for _, p := range panels {
		low, high = min(low, p.X.Min), max(high, p.X.Max)
		factor = max(factor, p.Y.Max/p.Y.Min)
	}
	for _, p := range panels {
		p.X.Min, p.X.Max = low, high*math.Pow(high/low, 0.04) // room for the last number
		middle := math.Sqrt(p.Y.Min * p.Y.Max)
		p.Y.Min, p.Y.Max = middle/math.Sqrt(factor), middle*math.Sqrt(factor)
	}
}

// decades has a tick at 1, 2 and 5 of each power of ten, and at the powers alone where
// that would be too many.
func decades(low, high float64) []plot.Tick {
	steps := []float64{1, 2, 5}
	if high/low > 500 {
		steps = steps[:1]
	}
	var ticks []plot.Tick
	for power := math.Pow10(int(math.Floor(math.Log10(low)))); power <= high; power *= 10 {
		for _, step := range steps {
			if at := power * step; at >= low && at <= high {
				ticks = append(ticks, plot.Tick{Value: at, Label: tickLabel(at)})
			}
		}
	}
	return ticks
}

// tickLabel is a number without digits that are nothing.
func tickLabel(n float64) string {
	if n >= 1 {
		return count(n)
	}
	return fmt.Sprintf("%.2g", n)
}
