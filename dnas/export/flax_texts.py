"""Text that files in flax (linen) have once, where an operator in them needs it."""

CONV = '''
def conv(out, kernel, stride=1, padding=0, groups=1, bias=False, name=None):
    """Convolution with equal padding on all sides."""
    pads = [(padding, padding)] * 2
    sizes = (kernel, kernel), (stride, stride)
    return nn.Conv(out, *sizes, pads, feature_group_count=groups, use_bias=bias, name=name)


def norm(train, name):
    return nn.BatchNorm(use_running_average=not train, momentum={momentum}, epsilon={epsilon}, name=name)

'''
GELU = """
def gelu(x):
    return nn.gelu(x, approximate=False)

"""
SHUFFLE = '''
def shuffle(x, groups):
    """Channels of the groups interleaved."""
    *lead, c = x.shape
    return x.reshape(*lead, groups, c // groups).swapaxes(-1, -2).reshape(*lead, c)

'''
SCALE = '''
class Scale(nn.Module):
    """A factor a channel."""

    @nn.compact
    def __call__(self, x):
        return x * self.param("scale", nn.initializers.ones, x.shape[-1:])

'''
AVERAGE_POOL = '''
def average_pool(x, kernel, stride, padding):
    """Means over windows; cells outside the map do not count."""
    pads = [(padding, padding)] * 2
    return nn.avg_pool(x, (kernel, kernel), (stride, stride), pads, count_include_pad=False)

'''
UPSAMPLE = """
def upsample(x, factor):
    n, h, w, c = x.shape
    return jax.image.resize(x, (n, h * factor, w * factor, c), "bilinear")

"""
DISTANCE_BIAS = '''
class DistanceBias(nn.Module):
    """Adds to the scores [N, heads, queries, keys] a number for each distance (abs(dy), abs(dx)); queries stand at
    every `stride`-th pixel of the keys."""

    queries: int
    keys: int
    stride: int

    @nn.compact
    def __call__(self, scores):
        heads = scores.shape[1]
        table = self.param("table", nn.initializers.zeros, (heads, self.keys, self.keys))
        apart = abs(self.stride * jnp.arange(self.queries)[:, None] - jnp.arange(self.keys))
        bias = jnp.asarray(table)[:, apart[:, None, :, None], apart[None, :, None, :]]
        return scores + bias.reshape(heads, *scores.shape[2:])

'''
MIX_HEADS = '''
class MixHeads(nn.Module):
    """A linear layer over the heads of scores [N, heads, queries, keys]."""

    @nn.compact
    def __call__(self, scores):
        heads = scores.shape[1]
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (heads, heads))
        bias = self.param("bias", nn.initializers.zeros, (heads,))
        return jnp.einsum("nhqk,hg->ngqk", scores, kernel) + bias[:, None, None]

'''
ATTENTION = '''
def by_head(x, heads, tokens):
    """[..., positions, heads, width] of a map [N, H, W, C], or of tokens [..., positions, C]."""
    around = x.shape[:-2] if tokens else x.shape[:1]
    return x.reshape(*around, -1, heads, x.shape[-1] // heads)


def attention_scores(q, k, heads, tokens=False):
    """q k^T / sqrt(width of a head): [N, heads, queries, keys]."""
    q, k = by_head(q, heads, tokens), by_head(k, heads, tokens)
    return jnp.einsum("...qhd,...khd->...hqk", q * q.shape[-1] ** -0.5, k)


def attend(scores, v, side=None):
    """Values weighted by the scores: tokens, or a map of that side."""
    mixed = jnp.einsum("...hqk,...khd->...qhd", scores, by_head(v, scores.shape[-3], side is None))
    rows = mixed.shape[:-2] if side is None else (v.shape[0], side, side)
    return mixed.reshape(*rows, v.shape[-1])

'''
UNEVEN = '''
def attend_uneven(scores, v, width, places, side=None):
    """`attend` where heads have up to `width` channels: what a head has less are zeros. `places` are those of the
    channels of v among heads of that width."""
    v, at = v if side is None else v.reshape(len(v), -1, v.shape[-1]), jnp.array(places, int)
    wide = jnp.zeros((*v.shape[:-1], scores.shape[-3] * width), v.dtype).at[..., at].set(v)
    y = attend(scores, wide)[..., at]
    return y if side is None else y.reshape(len(y), side, side, -1)

'''
CLASS_TOKEN = '''
class ClassToken(nn.Module):
    """A token before those of x; a map gives its pixels, row after row."""

    count: int = 1

    @nn.compact
    def __call__(self, x):
        n, *_, c = x.shape
        token = self.param("token", nn.initializers.zeros, (self.count, c))
        return jnp.concatenate([jnp.broadcast_to(token, (n, self.count, c)), x.reshape(n, -1, c)], 1)

'''
POSITIONS = '''
class Positions(nn.Module):
    """Adds a vector at each position; `inner`: at each token, the same in every patch."""

    inner: bool = False

    @nn.compact
    def __call__(self, x):
        return x + self.param("table", nn.initializers.zeros, x.shape[-2:] if self.inner else x.shape[1:])

'''
RELATIVE = '''
class Distances(nn.Module):
    """Vectors for the distances of pixels, in rows and in columns; entry 0 is for pairs with a token before them.
    `queries` and `keys` are the tokens that are left, where some were dropped."""

    side: int
    width: int
    reach: int
    before: int
    queries: tuple | None = None
    keys: tuple | None = None

    def vectors(self):
        """[queries, keys, width]"""
        place, reach, total = jnp.arange(self.side**2), self.reach, 0
        for name, at in (("rows", place // self.side), ("columns", place % self.side)):
            table = jnp.asarray(self.param(name, nn.initializers.zeros, (2 * reach + 2, self.width)))
            index = jnp.clip(at[None] - at[:, None], -reach, reach) + reach + 1
            index = jnp.pad(index, ((self.before, 0), (self.before, 0)))
            index = index if self.queries is None else index[jnp.array(self.queries, int)]
            index = index if self.keys is None else index[:, jnp.array(self.keys, int)]
            total = total + table[index]
        return total


class RelativeScores(Distances):
    """What the distances of keys add to the scores of queries [N, tokens, C]."""

    @nn.compact
    def __call__(self, q):
        q = q.reshape(*q.shape[:2], -1, self.width)
        return jnp.einsum("nqhd,qkd->nhqk", q * self.width**-0.5, self.vectors())


class RelativeValues(Distances):
    """Vectors of distances weighted by the scores [N, heads, queries, keys]; `entries` are the channels that are left,
    where some were dropped."""

    entries: tuple | None = None

    @nn.compact
    def __call__(self, scores):
        mixed = jnp.einsum("nhqk,qkd->nqhd", scores, self.vectors())
        mixed = mixed.reshape(*mixed.shape[:2], -1)
        return mixed if self.entries is None else mixed[..., jnp.array(self.entries, int)]

'''
WINDOWS = '''
def windows(x, side, shift=0):
    """A map as [N, windows, pixels, C], both row after row; zeros fill it up, then it is moved."""
    n, h, w, c = x.shape
    x = jnp.pad(x, ((0, 0), (0, -h % side), (0, -w % side), (0, 0)))
    x = jnp.roll(x, (-shift, -shift), (1, 2))
    x = x.reshape(n, -(-h // side), side, -(-w // side), side, c).swapaxes(2, 3)
    return x.reshape(n, -1, side * side, c)


def merged(x, side, shift=0):
    """The map of that side of which these are the windows."""
    n, count, pixels, c = x.shape
    across, window = round(count**0.5), round(pixels**0.5)
    x = x.reshape(n, across, across, window, window, c).swapaxes(2, 3).reshape(n, across * window, across * window, c)
    return jnp.roll(x, (shift, shift), (1, 2))[:, :side, :side]

'''
WINDOW_BIAS = '''
class WindowBias(nn.Module):
    """Adds to the scores [N, windows, heads, queries, keys] a number for each distance; of a map that was moved, pixels
    that were no neighbours do not see each other."""

    window: int
    side: int
    shift: int = 0

    @nn.compact
    def __call__(self, scores):
        w, count, place = self.window, 2 * self.window - 1, jnp.arange(self.window**2)
        table = jnp.asarray(self.param("table", nn.initializers.zeros, (count**2, scores.shape[-3])))
        dy, dx = (at[:, None] - at[None] + w - 1 for at in (place // w, place % w))
        scores = scores + table[dy * count + dx].transpose(2, 0, 1)
        if not self.shift:
            return scores
        whole = -(-self.side // w) * w
        band = jnp.searchsorted(jnp.array([whole - w, whole - self.shift]), jnp.arange(whole), side="right")
        part = windows((3 * band[:, None] + band)[None, :, :, None], w)[0, :, :, 0]
        return scores + jnp.where(part[:, :, None] == part[:, None], 0.0, -100.0)[:, None]

'''
MERGE = '''
def neighbours(x):
    """Each 2 x 2 pixels as one of four times the channels, column after column."""
    n, h, w, c = x.shape
    x = jnp.pad(x, ((0, 0), (0, h % 2), (0, w % 2), (0, 0)))
    x = x.reshape(n, (h + 1) // 2, 2, (w + 1) // 2, 2, c).transpose(0, 1, 3, 4, 2, 5)
    return x.reshape(n, (h + 1) // 2, (w + 1) // 2, 4 * c)

'''
WORDS = '''
def words(x, patch, conv):
    """A convolution within each patch of a map [N, H, W, C]: [N, patches, words, C]."""
    n, h, w, c = x.shape
    cut = x.reshape(n, h // patch, patch, w // patch, patch, c).swapaxes(2, 3).reshape(-1, patch, patch, c)
    y = conv(cut)
    return y.reshape(n, -1, y.shape[1] * y.shape[2], y.shape[3])

'''
JOIN = '''
def joined(x):
    """The tokens of each patch beside one another as channels of one token."""
    return x.reshape(*x.shape[:2], -1)

'''
LEADING = '''
def after_zeros(x, count):
    """Tokens of zeros before those of x."""
    return jnp.pad(x, ((0, 0), (count, 0), (0, 0)))

'''
LEARNED_SCORES = '''
class LearnedScores(nn.Module):
    """A number for each head, query and key, whatever the image is."""

    heads: int
    queries: int
    keys: int

    @nn.compact
    def __call__(self):
        return jnp.asarray(self.param("table", nn.initializers.zeros, (self.heads, self.queries, self.keys)))[None]

'''
CIRCULANT = '''
class Circulant(nn.Module):
    """A linear layer whose matrix consists of blocks x blocks circulant ones: entry (r, c) of each is its coefficient
    (r - c) mod d."""

    blocks: int
    bias: bool = True

    @nn.compact
    def __call__(self, x):
        b, c = self.blocks, x.shape[-1]
        place = jnp.arange(c // b)
        start = nn.initializers.normal((3 * c) ** -0.5)
        coefficients = jnp.asarray(self.param("coefficients", start, (b, b, c // b)))
        blocks = coefficients[:, :, (place[:, None] - place) % (c // b)]
        y = x @ blocks.transpose(1, 3, 0, 2).reshape(c, c)
        return y + self.param("bias", nn.initializers.zeros, (c,)) if self.bias else y

'''
