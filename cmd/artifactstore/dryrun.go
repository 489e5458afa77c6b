package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"

	"github.com/google/uuid"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/manifest"
	"github.com/coulomb/artifact-store/pkg/registry"
)

// planned is what push would do.
type planned struct {
	registry.PackageRef
	DryRun         bool          `json:"dryRun"`
	ManifestDigest digest.Digest `json:"manifestDigest"`
	// Published: the version is published already, with this content.
	Published   bool            `json:"published"`
	Files       int             `json:"files"`
	Bytes       int64           `json:"bytes"`
	SentFiles   int             `json:"sentFiles"`
	SentBytes   int64           `json:"sentBytes"`
	ReusedFiles int             `json:"reusedFiles"`
	ReusedBytes int64           `json:"reusedBytes"`
	Send        []planFile      `json:"send"`
	Reuse       []planFile      `json:"reuse"`
	LeaveOut    []leftOut       `json:"leaveOut"`
	Links       []manifest.Link `json:"links,omitempty"`
	Folders     []string        `json:"emptyFolders,omitempty"`
	Unmatched   []string        `json:"unmatchedExcludes,omitempty"`
	NotRecorded []string        `json:"notRecorded"`
	// PublishedWithout is that of a push.
	PublishedWithout *publishedWithout `json:"publishedWithout,omitempty"`
}

type planFile struct {
	Path string `json:"path"`
	Size int64  `json:"size"`
}

// dryRun prints what push would do. The registry is asked by the request that publishes a
// package by its manifest and answers what is missing; the manifest has one file that is
// always missing, so nothing is published or written.
func (a *app) dryRun(ctx context.Context, client registry.Registry, o pushOptions, tree *localTree, encoded []byte, also recordedOf) error {
	plan := planned{
		PackageRef: o.PackageRef, DryRun: true, ManifestDigest: manifest.Digest(encoded), Files: len(tree.files), Bytes: totalSize(tree.files),
		Send: []planFile{}, Reuse: []planFile{}, LeaveOut: append([]leftOut{}, tree.leftOut...), Links: tree.links, Unmatched: also.Unmatched, NotRecorded: also.NotRecorded,
	}
	for _, f := range tree.listed(tree.links) {
		plan.Folders = append(plan.Folders, f.Path)
	}
	missing, err := missingOf(ctx, client, o.OpenUpload, tree.files)
	if taken := takenBy(err); taken != nil {
		plan.Published = taken.Existing == plan.ManifestDigest
		if !plan.Published {
			before, lacks, err := without(taken.Existing, tree, o.OpenUpload)
			switch {
			case err != nil:
				return err
			case before == nil || o.strict:
				return fmt.Errorf("version: %s is published with the manifest %s, not %s", o.PackageRef, taken.Existing, plan.ManifestDigest)
			}
			plan.Published, plan.PublishedWithout = true, &lacks
		}
		if err := checkTerms(ctx, client, o.OpenUpload); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	for i := range tree.files {
		f := &tree.files[i]
		if missing[f.digests.SHA256] {
			delete(missing, f.digests.SHA256) // of several files with the same bytes one is sent
			plan.Send = append(plan.Send, planFile{f.path, f.size()})
			plan.SentFiles, plan.SentBytes = plan.SentFiles+1, plan.SentBytes+f.size()
		} else {
			plan.Reuse = append(plan.Reuse, planFile{f.path, f.size()})
			plan.ReusedFiles, plan.ReusedBytes = plan.ReusedFiles+1, plan.ReusedBytes+f.size()
		}
	}
	tree.close() // who reads the result may end this program
	return a.print(plan, plan.print)
}

// checkTerms compares what may not change of a published version, if that may be read.
func checkTerms(ctx context.Context, client registry.Packages, o registry.OpenUpload) error {
	p, err := client.GetPackage(ctx, o.PackageRef)
	switch {
	case err != nil: // whoever may publish may not always read
		return nil
	case p.RetentionClass != o.RetentionClass:
		return fmt.Errorf("retentionClass: %s is published with %q, not %q", o.PackageRef, p.RetentionClass, o.RetentionClass)
	case p.Tier != o.Tier:
		return fmt.Errorf("tier: %s is published with %q, not %q", o.PackageRef, p.Tier, o.Tier)
	}
	return nil
}

func (p *planned) print(w *tabwriter.Writer) {
	field(w, "package", p.PackageRef)
	field(w, "manifest", p.ManifestDigest)
	field(w, "files", p.Files)
	field(w, "bytes", p.Bytes)
	field(w, "would be sent", fmt.Sprintf("%d files, %d bytes", p.SentFiles, p.SentBytes))
	field(w, "reused", fmt.Sprintf("%d files, %d bytes", p.ReusedFiles, p.ReusedBytes))
	if len(p.LeaveOut) > 0 {
		field(w, "left out", entries(len(p.LeaveOut)))
	}
	switch {
	case p.PublishedWithout != nil:
		fmt.Fprintf(w, "published before without %s; it is the same otherwise\n", p.PublishedWithout)
	case p.Published:
		fmt.Fprintln(w, "published before with the same content")
	}
	recordedOf{Unmatched: p.Unmatched, NotRecorded: p.NotRecorded}.printLines(w)
	fmt.Fprintln(w)
	row(w, "WHAT", "BYTES", "PATH")
	for _, f := range p.Send {
		row(w, "send", f.Size, f.Path)
	}
	for _, f := range p.Reuse {
		row(w, "reuse", f.Size, f.Path)
	}
	for _, l := range p.Links {
		row(w, "link", "", shown(l.Path)+" -> "+shown(l.Target))
	}
	for _, path := range p.Folders {
		row(w, "folder", "", path)
	}
	for _, left := range p.LeaveOut {
		size := ""
		if left.Size != nil {
			size = strconv.FormatInt(*left.Size, 10)
		}
		row(w, "leave out", size, shown(left.Path)+" ("+shown(left.Why)+")")
	}
}

// askedAtOnce contents make a manifest of some 1.5 MiB with usual paths; if one request
// cannot take it, or name all that is missing, fewer are asked about.
const askedAtOnce = 10_000

// missingOf returns the contents that the registry would want to be sent.
func missingOf(ctx context.Context, client registry.Bundles, o registry.OpenUpload, files []localFile) (map[digest.Digest]bool, error) {
	missing := make(map[digest.Digest]bool)
	seen := make(map[digest.Digest]bool, len(files))
	var contents []*localFile
	for i := range files {
		if sha := files[i].digests.SHA256; !seen[sha] {
			seen[sha] = true
			contents = append(contents, &files[i])
		}
	}
	for len(contents) > 0 {
		n := min(len(contents), askedAtOnce)
		if err := askMissing(ctx, client, o, contents[:n], missing); err != nil {
			return nil, err
		}
		contents = contents[n:]
	}
	return missing, nil
}

// askMissing asks about contents, in several requests if there is no answer to one.
func askMissing(ctx context.Context, client registry.Bundles, o registry.OpenUpload, contents []*localFile, missing map[digest.Digest]bool) error {
	count, paths, fits, err := askOnce(ctx, client, o, contents)
	if err != nil {
		return err
	}
	switch {
	case fits && count == len(contents):
		for _, f := range contents {
			missing[f.digests.SHA256] = true
		}
		return nil
	case fits && count <= len(paths):
		for _, f := range contents {
			if paths[f.path] {
				missing[f.digests.SHA256] = true
			}
		}
		return nil
	}
	// What is named of the missing is bounded, the one that always is among them.
	piece := registry.MaxFilesAtOnce - 1
	if !fits {
		piece = (len(contents) + 1) / 2
	}
	for len(contents) > 0 {
		n := min(len(contents), piece)
		if err := askMissing(ctx, client, o, contents[:n], missing); err != nil {
			return err
		}
		contents = contents[n:]
	}
	return nil
}

// askOnce returns how many of the contents are missing, and the paths of them that the
// answer names. fits is false if a manifest of them is too large for one request.
func askOnce(ctx context.Context, client registry.Bundles, o registry.OpenUpload, contents []*localFile) (count int, paths map[string]bool, fits bool, err error) {
	id := uuid.New()
	never := manifest.File{Path: ".artifactstore-dry-run-" + id.String(), Digests: digest.Of(id[:]), Size: int64(len(id))}
	m := manifest.Manifest{Producer: o.Producer, Name: o.Name, Version: o.Version, Files: []manifest.File{never}}
	for _, f := range contents {
		m.Files = append(m.Files, manifest.File{Path: f.path, Size: f.size(), Digests: f.digests, Executable: f.executable})
	}
	encoded, err := manifest.Encode(&m)
	if err != nil {
		return 0, nil, false, err
	}
	if len(encoded) > registry.MaxManifestAtOnce {
		return 0, nil, false, nil
	}
	o.Annotations, o.MediaType = nil, ""
	sent := registry.SentManifest{Reader: bytes.NewReader(encoded), Size: int64(len(encoded))}
	_, err = client.PublishFiles(ctx, o, sent, func() (registry.NamedContent, error) { return registry.NamedContent{}, io.EOF })
	incomplete, is := errors.AsType[*registry.IncompleteError](err)
	if !is {
		if err == nil {
			err = errors.New("the registry published a package of which a file is missing")
		}
		return 0, nil, false, err
	}
	paths = make(map[string]bool, len(incomplete.Paths))
	for _, path := range incomplete.Paths {
		paths[path] = true
	}
	delete(paths, never.Path)
	return incomplete.Count - 1, paths, true, nil
}
