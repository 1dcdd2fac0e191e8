"""Programs in PyTorch's words: models of text."""

# ruff: noqa: C408, RUF059, E501  (written as such programs are)

from __future__ import annotations

import math

import numpy as np
from program_support import fill, integers, normal

TEXT = "the quick brown fox jumps over the lazy dog. the dog sleeps; the fox runs."


def char_lstm(torch, nn, F):
    """A character model: one-hot input to a recurrent network, hidden state detached between chunks, gradients clipped."""
    chars = sorted(set(TEXT))
    stoi = {ch: i for i, ch in enumerate(chars)}
    data = torch.tensor([stoi[c] for c in TEXT], dtype=torch.long)

    class CharRNN(nn.Module):
        def __init__(self, vocab, hidden, n_layers=2):
            super().__init__()
            self.hidden, self.n_layers = hidden, n_layers
            self.lstm = nn.LSTM(vocab, hidden, n_layers, batch_first=True)
            self.fc = nn.Linear(hidden, vocab)

        def forward(self, x, state):
            out, state = self.lstm(x, state)
            out = out.contiguous().view(-1, self.hidden)
            return self.fc(out), state

        def init_hidden(self, batch_size):
            weight = next(self.parameters()).data
            return (
                weight.new(self.n_layers, batch_size, self.hidden).zero_(),
                weight.new_zeros(self.n_layers, batch_size, self.hidden),
            )

    model = fill(torch, CharRNN(len(chars), 12))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    state = model.init_hidden(2)
    losses, norms = [], []
    for i in range(3):
        chunk = data[: 2 * 24 + 1][i : i + 48 - 4]
        x, y = chunk[:-2].view(2, -1), chunk[2:].reshape(2, -1)
        x = F.one_hot(x, num_classes=len(chars)).type(torch.get_default_dtype())
        state = tuple(s.detach() for s in state)
        model.zero_grad()
        logits, state = model(x, state)
        loss = F.cross_entropy(logits, y.view(-1))
        loss.backward()
        norms.append(nn.utils.clip_grad_norm_(model.parameters(), 5).item())
        optimizer.step()
        losses.append(loss.item())
    top = torch.topk(F.softmax(logits[-1], dim=-1), 3)
    return losses, norms, top.values, "".join(chars[i] for i in top.indices.tolist()), state[0]


def gru_classifier(torch, nn, F):
    """Padded sentences, an embedding with padding_idx, a bidirectional GRU, masked mean."""
    sentences = [torch.tensor(s) for s in ([3, 1, 4], [1, 5, 2, 6, 5], [2, 2])]
    batch = nn.utils.rnn.pad_sequence(sentences, batch_first=True, padding_value=0)
    mask = (batch != 0).unsqueeze(-1)
    labels = torch.tensor([[1.0], [0.0], [1.0]])

    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb = nn.Embedding(7, 5, padding_idx=0)
            self.gru = nn.GRU(5, 4, bidirectional=True, batch_first=True)
            self.out = nn.Linear(8, 1)

        def forward(self, x, mask):
            h, last = self.gru(self.emb(x))
            pooled = (h * mask).sum(1) / mask.sum(1).clamp(min=1)
            return self.out(pooled), torch.cat((last[-2], last[-1]), dim=1)

    model = fill(torch, Tagger())
    with torch.no_grad():
        model.emb.weight[0].fill_(0)
    criterion = nn.BCEWithLogitsLoss(pos_weight=torch.tensor([2.0]))
    optimizer = torch.optim.Adagrad(model.parameters(), lr=0.05)
    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        logits, last = model(batch, mask)
        loss = criterion(logits, labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    predictions = (torch.sigmoid(logits) > 0.5).long().squeeze()
    return batch, losses, predictions, last, model.emb.weight


def gpt(torch, nn, F):
    """A small GPT: both ways of causal attention, weight tying, decay groups, clipping, cosine schedule, generation."""

    class CausalSelfAttention(nn.Module):
        def __init__(self, n_embd, n_head, block_size, flash):
            super().__init__()
            assert n_embd % n_head == 0
            self.c_attn = nn.Linear(n_embd, 3 * n_embd)
            self.c_proj = nn.Linear(n_embd, n_embd)
            self.resid_dropout = nn.Dropout(0.0)
            self.n_head, self.n_embd, self.flash = n_head, n_embd, flash
            mask = torch.tril(torch.ones(block_size, block_size)).view(1, 1, block_size, block_size)
            self.register_buffer("bias", mask)

        def forward(self, x):
            B, T, C = x.size()
            q, k, v = self.c_attn(x).split(self.n_embd, dim=2)
            k = k.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)
            q = q.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)
            v = v.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)
            if self.flash:
                y = F.scaled_dot_product_attention(q, k, v, attn_mask=None, dropout_p=0.0, is_causal=True)
            else:
                att = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
                att = att.masked_fill(self.bias[:, :, :T, :T] == 0, float("-inf"))
                att = F.softmax(att, dim=-1)
                y = att @ v
            y = y.transpose(1, 2).contiguous().view(B, T, C)
            return self.resid_dropout(self.c_proj(y))

    class Block(nn.Module):
        def __init__(self, n_embd, n_head, block_size, flash):
            super().__init__()
            self.ln_1 = nn.LayerNorm(n_embd)
            self.attn = CausalSelfAttention(n_embd, n_head, block_size, flash)
            self.ln_2 = nn.LayerNorm(n_embd, bias=False)
            self.mlp = nn.ModuleDict(
                dict(
                    c_fc=nn.Linear(n_embd, 4 * n_embd),
                    act=nn.GELU(approximate="tanh"),
                    c_proj=nn.Linear(4 * n_embd, n_embd),
                )
            )

        def forward(self, x):
            x = x + self.attn(self.ln_1(x))
            m = self.mlp
            return x + m.c_proj(m.act(m.c_fc(self.ln_2(x))))

    class GPT(nn.Module):
        def __init__(self, vocab_size, block_size, n_embd, n_head):
            super().__init__()
            self.block_size = block_size
            self.transformer = nn.ModuleDict(
                {
                    "wte": nn.Embedding(vocab_size, n_embd),
                    "wpe": nn.Embedding(block_size, n_embd),
                    "h": nn.ModuleList([Block(n_embd, n_head, block_size, flash) for flash in (False, True)]),
                    "ln_f": nn.LayerNorm(n_embd),
                }
            )
            self.lm_head = nn.Linear(n_embd, vocab_size, bias=False)
            self.transformer.wte.weight = self.lm_head.weight
            self.apply(self._init_weights)

        def _init_weights(self, module):
            if isinstance(module, nn.Linear):
                torch.nn.init.normal_(module.weight, mean=0.0, std=0.02)
                if module.bias is not None:
                    torch.nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                torch.nn.init.normal_(module.weight, mean=0.0, std=0.02)

        def forward(self, idx, targets=None):
            device = idx.device
            b, t = idx.size()
            assert t <= self.block_size, f"Cannot forward sequence of length {t}"
            pos = torch.arange(0, t, dtype=torch.long, device=device).unsqueeze(0)
            x = self.transformer.wte(idx) + self.transformer.wpe(pos)
            for block in self.transformer.h:
                x = block(x)
            x = self.transformer.ln_f(x)
            if targets is not None:
                logits = self.lm_head(x)
                return logits, F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1), ignore_index=-1)
            return self.lm_head(x[:, [-1], :]), None

        @torch.no_grad()
        def generate(self, idx, max_new_tokens, temperature=1.0, top_k=None):
            for _ in range(max_new_tokens):
                idx_cond = idx if idx.size(1) <= self.block_size else idx[:, -self.block_size :]
                logits, _ = self(idx_cond)
                logits = logits[:, -1, :] / temperature
                if top_k is not None:
                    v, _ = torch.topk(logits, min(top_k, logits.size(-1)))
                    logits[logits < v[:, [-1]]] = -float("Inf")
                probs = F.softmax(logits, dim=-1)
                idx_next = torch.multinomial(probs, num_samples=1)
                idx = torch.cat((idx, idx_next), dim=1)
            return idx

        def configure_optimizers(self, weight_decay, learning_rate, betas):
            param_dict = {pn: p for pn, p in self.named_parameters() if p.requires_grad}
            decay = [p for n, p in param_dict.items() if p.dim() >= 2]
            nodecay = [p for n, p in param_dict.items() if p.dim() < 2]
            groups = [{"params": decay, "weight_decay": weight_decay}, {"params": nodecay, "weight_decay": 0.0}]
            return torch.optim.AdamW(groups, lr=learning_rate, betas=betas)

    chars = sorted(set(TEXT))
    ids = np.array([chars.index(c) for c in TEXT], dtype=np.int64)
    model = fill(torch, GPT(len(chars), 8, 16, 2), scale=0.2)
    tied = model.lm_head.weight is model.transformer.wte.weight
    n_params = sum(p.numel() for p in model.parameters()) - model.transformer.wpe.weight.numel()
    optimizer = model.configure_optimizers(0.1, 1e-2, (0.9, 0.95))
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10, eta_min=1e-4)
    losses = []
    for step in range(4):
        for _micro in range(2):
            ix = np.random.default_rng(step).integers(0, len(ids) - 9, size=3)
            x = torch.stack([torch.from_numpy(ids[i : i + 8]) for i in ix])
            y = torch.stack([torch.from_numpy(ids[i + 1 : i + 9]) for i in ix])
            _, loss = model(x, y)
            loss = loss / 2
            loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
    model.eval()
    context = torch.zeros((1, 1), dtype=torch.long)
    sampled = model.generate(context, 12, temperature=1e-5, top_k=5)[0].tolist()
    return (
        tied,
        n_params,
        losses,
        "".join(chars[i] for i in sampled),
        list(model.state_dict()),
        list(model.parameters()),
    )


def encoder_with_einsum(torch, nn, F):
    """Sinusoidal positions, attention by einsum, a padding mask, and PyTorch's own encoder layer."""

    class PositionalEncoding(nn.Module):
        def __init__(self, d_model, max_len=20):
            super().__init__()
            position = torch.arange(max_len).unsqueeze(1)
            div_term = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10000.0) / d_model))
            pe = torch.zeros(max_len, d_model)
            pe[:, 0::2] = torch.sin(position * div_term)
            pe[:, 1::2] = torch.cos(position * div_term)
            self.register_buffer("pe", pe[None], persistent=False)

        def forward(self, x):
            return x + self.pe[:, : x.size(1)]

    class EinsumAttention(nn.Module):
        def __init__(self, dim, heads):
            super().__init__()
            self.heads, self.scale = heads, (dim // heads) ** -0.5
            self.to_qkv = nn.Linear(dim, dim * 3, bias=False)
            self.to_out = nn.Linear(dim, dim)

        def forward(self, x, key_padding_mask):
            b, n, _ = x.shape
            q, k, v = (t.reshape(b, n, self.heads, -1).permute(0, 2, 1, 3) for t in self.to_qkv(x).chunk(3, dim=-1))
            dots = torch.einsum("b h i d, b h j d -> b h i j", q, k) * self.scale
            dots.masked_fill_(key_padding_mask[:, None, None, :], -torch.finfo(dots.dtype).max)
            out = torch.einsum("bhij,bhjd->bhid", dots.softmax(dim=-1), v)
            return self.to_out(out.permute(0, 2, 1, 3).reshape(b, n, -1))

    position, attention = PositionalEncoding(8), fill(torch, EinsumAttention(8, 2))
    layer = fill(torch, nn.TransformerEncoderLayer(8, 2, dim_feedforward=16, dropout=0.0, batch_first=True), scale=0.2)
    x = normal(torch, 2, 5, 8).requires_grad_()
    mask = torch.arange(5)[None, :] >= torch.tensor([5, 3])[:, None]
    hidden = position(x)
    hidden = hidden + attention(hidden, mask)
    out = layer(hidden, src_key_padding_mask=mask)
    loss = out[~mask].pow(2).mean()
    loss.backward()
    return loss, hidden, x.grad, [p.grad for p in attention.parameters()], list(attention.state_dict())


def word2vec(torch, nn, F):
    """Skip-gram with negative sampling: embeddings, bmm, logsigmoid."""

    class SkipGram(nn.Module):
        def __init__(self, vocab, dim):
            super().__init__()
            self.centers = nn.Embedding(vocab, dim)
            self.contexts = nn.Embedding(vocab, dim)
            self.centers.weight.data.uniform_(-0.5 / dim, 0.5 / dim)
            self.contexts.weight.data.zero_()

        def forward(self, center, context, negatives):
            u, v, n = self.centers(center), self.contexts(context), self.contexts(negatives)
            positive = F.logsigmoid(torch.sum(u * v, dim=1))
            negative = F.logsigmoid(-torch.bmm(n, u.unsqueeze(2)).squeeze(2)).sum(1)
            return -(positive + negative).mean()

    model = fill(torch, SkipGram(10, 4))
    counts = torch.bincount(integers(torch, 10, 60), minlength=10)
    noise = counts.to(torch.get_default_dtype()) ** 0.75
    noise /= noise.sum()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    losses = []
    for step in range(4):
        center, context = integers(torch, 10, 6, seed=step), integers(torch, 10, 6, seed=step + 50)
        negatives = integers(torch, 10, 6, 3, seed=step + 100)
        loss = model(center, context, negatives)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    vectors = F.normalize(model.centers.weight.detach(), dim=1)
    similar = torch.mm(vectors, vectors.t()).fill_diagonal_(-1).argmax(dim=1)
    distances = torch.cdist(vectors, vectors)
    return noise, losses, similar, distances, model.centers.weight.numpy(force=True)
