"""Text that files in PyTorch have once, where an operator in them needs it."""

SHUFFLE = '''
def shuffle(x, groups):
    """Channels of the groups interleaved."""
    return x.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)

'''
CHANNEL_NORM = '''
class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each pixel."""

    def forward(self, x):
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)

'''
SCALE = '''
class Scale(nn.Module):
    """A factor a channel."""

    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x):
        return x * self.weight[:, None, None]

'''
DISTANCE_BIAS = '''
class DistanceBias(nn.Module):
    """Adds to the scores [N, heads, queries, keys] a number for each distance (abs(dy), abs(dx)); queries stand at
    every `stride`-th pixel of the keys."""

    def __init__(self, heads, queries, keys, stride):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(heads, keys, keys))
        apart = (stride * torch.arange(queries)[:, None] - torch.arange(keys)).abs()
        self.register_buffer("apart", apart, persistent=False)

    def forward(self, scores):
        bias = self.weight[:, self.apart[:, None, :, None], self.apart[None, :, None, :]]
        return scores + bias.flatten(3).flatten(1, 2)

'''
ATTENTION = '''
def by_head(x, heads, tokens):
    """[..., heads, positions, width] of a map [N, C, H, W], or of tokens [..., positions, C]."""
    x = x if tokens else x.flatten(2).transpose(1, 2)
    return x.unflatten(-1, (heads, -1)).transpose(-3, -2)


def attention_scores(q, k, heads, tokens=False):
    """q k^T / sqrt(width of a head): [N, heads, queries, keys]."""
    q, k = (by_head(x, heads, tokens) for x in (q, k))
    return (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)


def attend(scores, v, side=None):
    """Values weighted by the scores: tokens, or a map of that side."""
    y = (scores @ by_head(v, scores.shape[-3], side is None)).transpose(-3, -2).flatten(-2)
    return y if side is None else y.transpose(1, 2).unflatten(2, (side, side))

'''
UNEVEN = '''
def attend_uneven(scores, v, width, places, side=None):
    """`attend` where heads have up to `width` channels: what a head has less are zeros. `places` are those of the
    channels of v among heads of that width."""
    v, at = v if side is None else v.flatten(2).transpose(1, 2), list(places)
    wide = v.new_zeros(*v.shape[:-1], scores.shape[-3] * width)
    wide[..., at] = v
    y = attend(scores, wide)[..., at]
    return y if side is None else y.transpose(1, 2).unflatten(2, (side, side))

'''
CLASS_TOKEN = '''
class ClassToken(nn.Module):
    """A token before those of x; a map [N, C, H, W] gives its pixels, row after row."""

    def __init__(self, channels, count=1):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(count, channels))

    def forward(self, x):
        x = x.flatten(2).transpose(1, 2) if x.dim() == 4 else x
        return torch.cat([self.weight.expand(len(x), -1, -1), x], 1)

'''
POSITIONS = '''
class Positions(nn.Module):
    """Adds a vector at each position."""

    def __init__(self, *sizes):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(sizes))

    def forward(self, x):
        return x + self.weight

'''
RELATIVE = '''
class Distances(nn.Module):
    """Vectors for the distances of pixels, in rows and in columns; entry 0 is for pairs with a token before them.
    `queries` and `keys` are the tokens that are left, where some were dropped."""

    def __init__(self, side, width, reach, before, queries=None, keys=None):
        super().__init__()
        self.rows, self.columns = (nn.Parameter(torch.zeros(2 * reach + 2, width)) for _ in range(2))
        place = torch.arange(side * side)
        for name, at in (("row", place // side), ("column", place % side)):
            index = (at[None] - at[:, None]).clamp(-reach, reach) + reach + 1
            index = F.pad(index, (before, 0, before, 0))
            index = index if queries is None else index[list(queries)]
            index = index if keys is None else index[:, list(keys)]
            self.register_buffer(name, index, persistent=False)

    def vectors(self):
        """[queries, keys, width]"""
        return self.rows[self.row] + self.columns[self.column]


class RelativeScores(Distances):
    """What the distances of keys add to the scores of queries [N, tokens, C]."""

    def forward(self, q):
        vectors = self.vectors()
        q = q.unflatten(-1, (-1, vectors.shape[-1]))
        return torch.einsum("nqhd,qkd->nhqk", q * q.shape[-1] ** -0.5, vectors)


class RelativeValues(Distances):
    """Vectors of distances weighted by the scores [N, heads, queries, keys]; `entries` are the channels that are left,
    where some were dropped."""

    def __init__(self, *sizes, entries=None, **left):
        super().__init__(*sizes, **left)
        self.entries = entries if entries is None else list(entries)

    def forward(self, scores):
        mixed = torch.einsum("nhqk,qkd->nqhd", scores, self.vectors()).flatten(2)
        return mixed if self.entries is None else mixed[..., self.entries]

'''
WINDOWS = '''
def windows(x, side, shift=0):
    """A map [N, C, H, W] as [N, windows, pixels, C], both row after row; zeros fill it up, then it is moved."""
    missing = -x.shape[2] % side
    x = F.pad(x, (0, missing, 0, missing)).roll((-shift, -shift), (2, 3))
    x = x.unflatten(3, (-1, side)).unflatten(2, (-1, side)).permute(0, 2, 4, 3, 5, 1)
    return x.flatten(3, 4).flatten(1, 2)


def merged(x, side, shift=0):
    """The map of that side of which these are the windows."""
    across, window = (round(x.shape[n] ** 0.5) for n in (1, 2))
    x = x.unflatten(2, (window, window)).unflatten(1, (across, across)).permute(0, 5, 1, 3, 2, 4)
    x = x.flatten(4, 5).flatten(2, 3)
    return x.roll((shift, shift), (2, 3))[:, :, :side, :side]

'''
WINDOW_BIAS = '''
class WindowBias(nn.Module):
    """Adds to the scores [N, windows, heads, queries, keys] a number for each distance; of a map that was moved, pixels
    that were no neighbours do not see each other."""

    def __init__(self, heads, window, side, shift=0):
        super().__init__()
        count, place = 2 * window - 1, torch.arange(window * window)
        self.weight = nn.Parameter(torch.zeros(count * count, heads))
        dy, dx = (at[:, None] - at[None] + window - 1 for at in (place // window, place % window))
        self.register_buffer("index", dy * count + dx, persistent=False)
        whole = -(-side // window) * window
        band = torch.bucketize(torch.arange(whole), torch.tensor([whole - window, whole - shift]), right=True)
        part = (3 * band[:, None] + band)[None, None].float()
        part = windows(part, window)[0, :, :, 0]
        apart = (part[:, :, None] != part[:, None]) * -100.0 if shift else torch.zeros(1, 1, 1)
        self.register_buffer("apart", apart[:, None], persistent=False)

    def forward(self, scores):
        return scores + self.weight[self.index].permute(2, 0, 1) + self.apart

'''
MERGE = '''
def neighbours(x):
    """Each 2 x 2 pixels as one of four times the channels, column after column."""
    x = F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2))
    x = x.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).permute(0, 5, 3, 1, 2, 4)
    return x.flatten(1, 3)

'''
WORDS = '''
def words(x, patch, conv):
    """A convolution within each patch of a map [N, C, H, W]: [N, patches, words, C]."""
    cut = x.unflatten(3, (-1, patch)).unflatten(2, (-1, patch)).permute(0, 2, 4, 1, 3, 5)
    return conv(cut.flatten(0, 2)).flatten(2).transpose(1, 2).unflatten(0, (len(x), -1))

'''
LEARNED_SCORES = '''
class LearnedScores(nn.Module):
    """A number for each head, query and key, whatever the image is."""

    def __init__(self, *sizes):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, *sizes))

    def forward(self, x):
        return self.weight

'''
CIRCULANT = '''
class Circulant(nn.Module):
    """A linear layer whose matrix consists of blocks x blocks circulant ones: entry (r, c) of each is its coefficient
    (r - c) mod d."""

    def __init__(self, channels, blocks, bias=True):
        super().__init__()
        place = torch.arange(channels // blocks)
        start = torch.empty(blocks, blocks, len(place)).uniform_(-(channels**-0.5), channels**-0.5)
        self.coefficients = nn.Parameter(start)
        self.bias = nn.Parameter(torch.zeros(channels)) if bias else None
        self.register_buffer("index", (place[:, None] - place) % len(place), persistent=False)

    def forward(self, x):
        weight = self.coefficients[:, :, self.index].transpose(1, 2).flatten(2).flatten(0, 1)
        return F.linear(x, weight, self.bias)

'''
