package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// columns is a table that fits the terminal: what is longest is shortened. Elsewhere, as
// in a pipe, nothing is.
type columns struct {
	head []string
	rows [][]string
	// right has the columns that are numbers, and short those that may be shortened.
	right, short []int
}

// add adds a row.
func (c *columns) add(cells ...any) {
	texts := make([]string, len(cells))
	for i, cell := range cells {
		texts[i] = dash(shown(fmt.Sprint(cell)))
	}
	c.rows = append(c.rows, texts)
}

const (
	// between columns.
	gap = 2
	// shortest is how far a column is shortened.
	shortest = 12
)

// print writes the table, in width columns of the terminal, unless that is 0.
func (c *columns) print(into io.Writer, width int) error {
	widths := make([]int, len(c.head))
	for _, row := range append([][]string{c.head}, c.rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	if width > 0 {
		c.shorten(widths, width)
	}
	var line strings.Builder
	for _, row := range append([][]string{c.head}, c.rows...) {
		line.Reset()
		for i, cell := range row {
			cell = cut(cell, widths[i])
			padding := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if slices.Contains(c.right, i) {
				cell = padding + cell
			} else if i < len(row)-1 {
				cell += padding
			}
			line.WriteString(cell)
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", gap))
			}
		}
		if _, err := fmt.Fprintln(into, strings.TrimRight(line.String(), " ")); err != nil {
			return err
		}
	}
	return nil
}

// shorten takes from the widest of the columns that may be shortened, until all fit.
func (c *columns) shorten(widths []int, width int) {
	total := gap * (len(widths) - 1)
	for _, w := range widths {
		total += w
	}
	for total > width {
		widest := -1
		for _, i := range c.short {
			if widths[i] > shortest && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return
		}
		widths[widest]--
		total--
	}
}

// cut leaves out the middle of a text that is too long: its beginning and its end tell most.
func cut(text string, width int) string {
	runes := []rune(text)
	if len(runes) <= width {
		return text
	}
	head := (width - 1) / 2
	return string(runes[:head]) + "…" + string(runes[len(runes)-(width-1-head):])
}

// width is how many columns the terminal has, 0 if results go elsewhere.
func (a *app) columnsOfTerminal() int {
	file, is := a.stdout.(*os.File)
	if !is || !term.IsTerminal(int(file.Fd())) {
		return 0
	}
	width, _, err := term.GetSize(int(file.Fd()))
	if err != nil {
		return 0
	}
	return width
}
