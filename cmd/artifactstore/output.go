package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// format is the output format of results; it is a pflag.Value.
type format string

const (
	formatTable format = "table"
	formatJSON  format = "json"
	formatYAML  format = "yaml"
	formatWide  format = "wide" // a table with more columns, where there are more
)

func (f *format) String() string { return string(*f) }
func (f *format) Type() string   { return "format" }

func (f *format) Set(text string) error {
	switch format(text) {
	case formatTable, formatJSON, formatYAML, formatWide:
		*f = format(text)
		return nil
	}
	return fmt.Errorf("must be table, wide, json or yaml")
}

// print writes value as JSON or YAML, or calls table. In a table, tabs separate
// cells and newlines end rows; print aligns the columns.
func (a *app) print(value any, table func(w *tabwriter.Writer)) error {
	switch a.output {
	case formatJSON:
		return a.write("", value, func(value any) ([]byte, error) { return encodeJSON(value, "  ") })
	case formatYAML:
		return a.write("", value, encodeYAML)
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	table(w)
	return w.Flush()
}

// printStream writes one of many values immediately: a line of JSON, a YAML
// document, or the line that row returns.
func (a *app) printStream(value any, row func() string) error {
	switch a.output {
	case formatJSON:
		return a.write("", value, func(value any) ([]byte, error) { return encodeJSON(value, "") })
	case formatYAML:
		return a.write("---\n", value, encodeYAML)
	}
	_, err := fmt.Fprintln(a.stdout, row())
	return err
}

func (a *app) write(before string, value any, encode func(any) ([]byte, error)) error {
	text, err := encode(value)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "%s%s", before, text)
	return err
}

// row writes one row. Empty cells become dashes, so that cut finds the columns.
func row(w *tabwriter.Writer, cells ...any) {
	texts := make([]string, len(cells))
	for i, cell := range cells {
		texts[i] = dash(shown(fmt.Sprint(cell)))
	}
	fmt.Fprintln(w, strings.Join(texts, "\t"))
}

// field writes one "name  value" line of a single thing, and nothing if its only value is empty.
func field(w *tabwriter.Writer, name string, values ...any) {
	texts := []string{shown(name)}
	for _, value := range values {
		texts = append(texts, shown(fmt.Sprint(value)))
	}
	if len(values) > 1 || texts[1] != "" {
		fmt.Fprintln(w, strings.Join(texts, "\t"))
	}
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
