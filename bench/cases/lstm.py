"""Training the published pair model, with the LSTM of `models/cpu_kernels.py` and with PyTorch's."""

from bench.work import Build, Case, Settings, Target, Work


def original(ours: bool) -> Build:
    """Return a training step of the published pair model, with the LSTM of `cpu_kernels` or PyTorch's."""

    def build(settings: Settings) -> Work:
        import torch
        from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

        from dnalm.models import smiles_lstm
        from dnalm.models.pair import InteractionModel
        from dnalm.models.pair_shape import InteractionShape

        def theirs(lstm: torch.nn.LSTM, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
            packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            return pad_packed_sequence(lstm(packed)[0], batch_first=True, total_length=x.shape[1])[0]

        if not ours:
            smiles_lstm.lstm = theirs
        torch.manual_seed(0)
        model = InteractionModel(InteractionShape(characters="".join(map(chr, range(40, 80)))))
        size = 4 if settings.quick else 64
        optimizer, pair = torch.optim.AdamW(model.parameters(), lr=1e-4), torch.arange(size)
        genes, molecules = torch.randint(4, (size, 1000)), torch.randint(1, 40, (size, 100))
        genes_real = torch.arange(1000) < torch.randint(500, 1001, (size, 1))
        molecules_real = torch.arange(100) < torch.randint(20, 101, (size, 1))

        def run() -> None:
            logits = model(genes, genes_real, molecules, molecules_real, pair, pair)
            torch.nn.functional.binary_cross_entropy_with_logits(logits, (pair % 2).float()).backward()
            optimizer.step()
            optimizer.zero_grad()

        return Work(run, float(size), precision="fp32")

    return build


CASE = Case(
    name="lstm",
    title="Training the published pair model",
    about=(
        "A step on 64 pairs of genes up to 1,000 bases and molecules up to 100 characters, fp32. dnalm: with "
        "the LSTM of models/cpu_kernels.py. torch.nn.LSTM: the same model with PyTorch's own."
    ),
    unit="pairs",
    ours="dnalm",
    ways=lambda settings: {"dnalm": original(ours=True), "torch.nn.LSTM": original(ours=False)},
    groups={"torch": ("torch.nn.LSTM",)},
    targets=lambda settings: [Target("1.25 times PyTorch's LSTM", "torch", "ratio", at_least=1.25)],
)
