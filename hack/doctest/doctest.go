// Package doctest keeps the documentation true: its tests run the commands in
// README.md and docs/, decode the YAML examples, and compare the tables of
// fields, reasons, flags, verbs and metrics with the code.
//
// Blocks of commands are fenced as sh (commands alone) or console (commands
// behind "$ " with the output that they print; "…" stands for anything within
// a line, and alone for any lines). An HTML comment on the line above says what
// becomes of the block:
//
//	<!-- run -->            runs it, against a manager that serves; every command must end with code 0
//	<!-- run eventually --> runs it again until it prints what it should: something changes meanwhile
//	<!-- run stopped -->    runs it while the manager is stopped, which is then started again
//	<!-- run followed -->   runs its one command until it prints something, and interrupts it
//	<!-- not run: WHY -->   leaves it alone
//
// The blocks of a file run in order in one shell, in a folder that looks like
// the repository. The address http://127.0.0.1:8080 becomes the manager's own,
// and /tmp/ a folder of the test's own.
//
// YAML blocks are decoded strictly; <!-- part --> marks one that is not a whole object.
package doctest

import (
	"fmt"
	"regexp"
	"strings"
)

// Block is one fenced block of a Markdown file.
type Block struct {
	// Line of the opening fence, from 1.
	Line int
	// Language is the first word behind the fence.
	Language string
	// Mark is the text of the HTML comment on the line above, without its delimiters.
	Mark string
	Text string
}

var comment = regexp.MustCompile(`^<!--\s*(.*?)\s*-->$`)

// Blocks lists the fenced blocks of a Markdown text. A fence that is not closed is an error.
func Blocks(markdown string) ([]Block, error) {
	var blocks []Block
	var open *Block
	previous := ""
	for i, line := range strings.Split(markdown, "\n") {
		fence, isFence := strings.CutPrefix(line, "```")
		switch {
		case open == nil && isFence:
			open = &Block{Line: i + 1}
			open.Language, _, _ = strings.Cut(fence, " ")
			if found := comment.FindStringSubmatch(previous); found != nil {
				open.Mark = found[1]
			}
		case open != nil && isFence:
			blocks, open = append(blocks, *open), nil
		case open != nil:
			open.Text += line + "\n"
		}
		previous = line
	}
	if open != nil {
		return nil, fmt.Errorf("line %d: the fence is not closed", open.Line)
	}
	return blocks, nil
}

// Command is one command of a block.
type Command struct {
	Text string
	// Output that it prints; "" where the document shows none.
	Output string
}

// Commands splits a block of language sh or console. A backslash at the end
// of a line continues it on the next.
func (b Block) Commands() []Command {
	var commands []Command
	unfinished := false
	for line := range strings.Lines(b.Text) {
		line = strings.TrimSuffix(line, "\n")
		text, isCommand := line, b.Language == "sh"
		if b.Language == "console" {
			text, isCommand = strings.CutPrefix(line, "$ ")
		}
		switch last := len(commands) - 1; {
		case unfinished:
			commands[last].Text += "\n" + line
			unfinished = strings.HasSuffix(line, `\`)
		case !isCommand && last >= 0:
			commands[last].Output += line + "\n"
		case isCommand && text != "" && !strings.HasPrefix(text, "#"):
			commands = append(commands, Command{Text: text})
			unfinished = strings.HasSuffix(text, `\`)
		}
	}
	return commands
}

// Pattern matches what a command that shows this output may print: the widths
// of columns do not count.
func Pattern(output string) *regexp.Regexp {
	spaces := regexp.MustCompile(`[ \t]+`)
	var pattern strings.Builder
	pattern.WriteString(`^`)
	for line := range strings.Lines(output) {
		line = strings.TrimRight(line, " \t\n")
		if line == "…" {
			pattern.WriteString(`(?:.*\n)*`)
			continue
		}
		parts := strings.Split(line, "…")
		for i, part := range parts {
			parts[i] = spaces.ReplaceAllString(regexp.QuoteMeta(part), `[ \t]+`)
		}
		pattern.WriteString(strings.Join(parts, `.*`) + `[ \t]*\n`)
	}
	pattern.WriteString(`$`)
	return regexp.MustCompile(pattern.String())
}

// Rows returns the cells of every row of every table of a Markdown text whose
// first cell is a word in backquotes: that word without them, then the other cells.
func Rows(markdown string) [][]string {
	var rows [][]string
	for line := range strings.Lines(markdown) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		cells[0] = strings.Trim(cells[0], "`")
		rows = append(rows, cells)
	}
	return rows
}
