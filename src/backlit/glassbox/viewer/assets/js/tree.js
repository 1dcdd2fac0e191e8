// The tree of modules, and what of it is open. Long stretches without modules are cut into parts, so that no level of
// the tree ever has more to draw than can be laid out at once.

const LONG = 120;
const PART = 60;

/** The root group; a group has `key`, `label`, `parent`, `groups`, `nodes` (its own) and `all` (with those inside). */
export function buildTree(nodes) {
  const root = newGroup("", "", null);
  const groups = new Map();
  for (const node of nodes) {
    const group = node.path.reduce((parent, name) => child(parent, name, groups), root);
    group.nodes.push(node);
    node.group = group;
  }
  tidy(root);
  nameNumbered(root);
  cutLong(root);
  collect(root);
  return root;
}

function newGroup(key, label, parent) {
  return { key, label, parent, groups: [], nodes: [], all: [] };
}

function child(parent, name, groups) {
  const key = parent.key ? `${parent.key}.${name}` : name;
  if (!groups.has(key)) {
    const group = newGroup(key, name, parent);
    groups.set(key, group);
    parent.groups.push(group);
  }
  return groups.get(key);
}

/** A group that holds nothing but one other group is drawn as one: "layers.0". */
function tidy(group) {
  group.groups.forEach(tidy);
  group.groups = group.groups.map((inner) => {
    if (inner.nodes.length || inner.groups.length !== 1) return inner;
    const [only] = inner.groups;
    only.label = `${inner.label}.${only.label}`;
    only.parent = group;
    return only;
  });
}

/** "blocks.3" says more than "3". */
function nameNumbered(group) {
  for (const inner of group.groups) {
    if (/^\d+$/.test(inner.label) && group.parent) inner.label = inner.key.match(/(?:[^.]*[^.\d][^.]*\.)?[\d.]+$/)[0];
    nameNumbered(inner);
  }
}

function cutLong(group) {
  group.groups.forEach(cutLong);
  if (group.nodes.length <= LONG) return;
  const operations = group.nodes.filter((node) => node.kind === "operation");
  const parts = [];
  for (let i = 0; i < operations.length; i += PART) {
    const last = Math.min(i + PART, operations.length);
    const part = newGroup(`${group.key}#${i}`, `operations ${i + 1}–${last}`, group);
    part.nodes = operations.slice(i, last);
    parts.push(part);
  }
  for (const part of parts) for (const node of part.nodes) node.group = part;
  const leaves = group.nodes.filter((node) => node.kind !== "operation");
  group.nodes = leaves.filter((leaf) => !moveToItsUsers(leaf, parts));
  group.groups.push(...parts);
}

function moveToItsUsers(leaf, parts) {
  const homes = new Set(leaf.users.map((edge) => edge.target.group));
  const [home] = homes;
  if (homes.size !== 1 || !parts.includes(home)) return false;
  home.nodes.push(leaf);
  leaf.group = home;
  return true;
}

function collect(group) {
  group.groups.forEach(collect);
  group.all = [...group.nodes, ...group.groups.flatMap((inner) => inner.all)];
}

/** The groups around a node, outermost first, without the root. */
export function ancestors(node) {
  const around = [];
  for (let group = node.group; group.parent; group = group.parent) around.unshift(group);
  return around;
}

/** All groups below a group. */
export function allGroups(group) {
  return group.groups.flatMap((inner) => [inner, ...allGroups(inner)]);
}

/**
 * Open groups from the outside in while what is then drawn stays below a number of things. Numbered groups beside each
 * other (the blocks of a network) are opened together or not at all.
 */
export function openUpTo(root, most) {
  const open = new Set();
  let drawn = inside(root);
  const waiting = families(root);
  while (waiting.length) {
    waiting.sort((a, b) => depth(a[0]) - depth(b[0]) || a.length - b.length);
    const family = waiting.shift();
    const more = family.reduce((sum, group) => sum + inside(group) - 1, 0);
    if (drawn + more > most) continue;
    drawn += more;
    for (const group of family) {
      open.add(group);
      waiting.push(...families(group));
    }
  }
  return open;
}

/** The groups in a group: numbered ones together, others each alone. */
function families(group) {
  const numbered = group.groups.filter((inner) => /\d/.test(inner.label));
  const others = group.groups.filter((inner) => !/\d/.test(inner.label)).map((inner) => [inner]);
  return numbered.length ? [numbered, ...others] : others;
}

function inside(group) {
  return group.nodes.length + group.groups.length;
}

function depth(group) {
  return group.parent ? 1 + depth(group.parent) : 0;
}
