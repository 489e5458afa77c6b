// Package layers proves that each layer has its own words: it reads the
// imports of every package of this module and compares them with one table. It
// also follows what a package links, and counts how large folders are.
package layers

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// module is the path that imports of our own packages begin with.
const module = "github.com/coulomb/artifact-store"

// Check reads every Go file below the root of fsys and returns what breaks the
// rules, a sentence each, sorted, and how many packages it read.
func Check(fsys fs.FS) (violations []string, packages int, err error) {
	c, err := read(fsys)
	c.checkLinks()
	c.checkSizes()
	slices.Sort(c.violations)
	return slices.Compact(c.violations), len(c.seen), err
}

// read looks at each file by itself.
func read(fsys fs.FS) (*checker, error) {
	c := &checker{seen: map[string]bool{}, sizes: map[string]size{}, ours: map[string][]string{}, libraries: map[string][]string{}}
	err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			return skip(fsys, name)
		case !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		source, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		return c.file(name, source)
	})
	return c, err
}

// skip passes over what the go command passes over, what is built, and modules
// of their own (the pinned tools).
func skip(fsys fs.FS, name string) error {
	if name == "." {
		return nil
	}
	base := path.Base(name)
	if base == "testdata" || base == "node_modules" || name == "bin" || base[0] == '.' || base[0] == '_' {
		return fs.SkipDir
	}
	if _, err := fs.Stat(fsys, path.Join(name, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

type checker struct {
	seen       map[string]bool
	sizes      map[string]size     // by package
	ours       map[string][]string // by package: what it imports of this module
	libraries  map[string][]string // by package: what else it imports
	violations []string
}

func (c *checker) found(format string, args ...any) {
	c.violations = append(c.violations, fmt.Sprintf(format, args...))
}

func (c *checker) file(name string, source []byte) error {
	parsed, err := parser.ParseFile(token.NewFileSet(), name, source, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	pkg := path.Dir(name)
	c.seen[pkg] = true
	c.count(pkg, source)
	allowed, known := rowOf(pkg)
	if !known {
		c.found("%s is not in the import table: add a row to hack/layers/rules.go", pkg)
		return nil
	}
	for _, spec := range parsed.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return err
		}
		if own, ours := strings.CutPrefix(imported, module+"/"); ours {
			c.ours[pkg] = append(c.ours[pkg], own)
			if own != pkg && !matchesAny(allowed, own) {
				c.found("%s must not import %s", pkg, own)
			}
		} else {
			c.libraries[pkg] = append(c.libraries[pkg], imported)
			if !matchesAny(exempt, pkg) {
				c.library(pkg, imported)
			}
		}
	}
	if !matchesAny(exempt, pkg) && !matchesAny(environment, pkg) && readsEnvironment(parsed) {
		c.found("%s reads environment variables: only programs do", pkg)
	}
	return nil
}

func (c *checker) library(pkg, imported string) {
	for library, users := range confined {
		if (imported == library || strings.HasPrefix(imported, library+"/")) && !matchesAny(users, pkg) {
			c.found("%s must not import %s: only %s may", pkg, imported, strings.Join(users, ", "))
		}
	}
}

// checkLinks follows the imports of this module from the packages that must
// not link a library, by whatever way.
func (c *checker) checkLinks() {
	for from, unwanted := range unlinked {
		reached, ways := map[string]bool{from: true}, [][]string{{from}}
		for len(ways) > 0 {
			way := ways[0]
			ways = ways[1:]
			last := way[len(way)-1]
			for _, imported := range c.libraries[last] {
				if i := slices.IndexFunc(unwanted, func(library string) bool { return matches(library+"/...", imported) }); i >= 0 {
					c.found("%s must not link %s, and does by %s", from, unwanted[i], strings.Join(way, " -> "))
				}
			}
			for _, own := range c.ours[last] {
				if !reached[own] {
					reached[own] = true
					ways = append(ways, append(slices.Clip(way), own))
				}
			}
		}
	}
}

// rowOf finds the row of the longest name that fits pkg.
func rowOf(pkg string) (allowed []string, known bool) {
	longest := -1
	for name, row := range imports {
		// An exact name beats the pattern of the same folder.
		length := 2 * len(strings.TrimSuffix(name, "/..."))
		if !strings.HasSuffix(name, "...") {
			length++
		}
		if matches(name, pkg) && length > longest {
			longest, allowed, known = length, row, true
		}
	}
	return allowed, known
}

func matchesAny(patterns []string, pkg string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return matches(pattern, pkg) })
}

func matches(pattern, pkg string) bool {
	if pattern == "..." {
		return true
	}
	if folder, below := strings.CutSuffix(pattern, "/..."); below {
		return pkg == folder || strings.HasPrefix(pkg, folder+"/")
	}
	return pkg == pattern
}

// readsEnvironment looks for calls and values of package os that give
// environment variables. A renamed import of os is looked through.
func readsEnvironment(file *ast.File) bool {
	name := ""
	for _, spec := range file.Imports {
		if spec.Path.Value == `"os"` {
			name = "os"
			if spec.Name != nil {
				name = spec.Name.Name
			}
		}
	}
	found := false
	ast.Inspect(file, func(node ast.Node) bool {
		if selector, ok := node.(*ast.SelectorExpr); ok && name != "" {
			if from, ok := selector.X.(*ast.Ident); ok && from.Name == name {
				switch selector.Sel.Name {
				case "Getenv", "LookupEnv", "Environ", "ExpandEnv":
					found = true
				}
			}
		}
		return !found
	})
	return found
}
