# The public names of gwaudit. `__init__.py` imports each on first use; type checkers and editors read them here.

from .analysis.audit import Audit as Audit
from .analysis.evaluation import Evaluation as Evaluation
from .analysis.evaluation import evaluate as evaluate
from .analysis.monitor import AlignmentMonitor as AlignmentMonitor
from .analysis.noise import class_health as class_health
from .analysis.noise import transition_matrix as transition_matrix
from .analysis.ranking import rank as rank
from .analysis.stopping import OnlineStopping as OnlineStopping
from .analysis.stopping import stopping_rule as stopping_rule
from .core.errors import GwauditError as GwauditError
from .core.presets import RefinementSettings as RefinementSettings
from .core.settings import DataSettings as DataSettings
from .core.settings import RankingSettings as RankingSettings
from .core.settings import TrainingSettings as TrainingSettings
from .data.dataset import LabeledDataset as LabeledDataset
from .data.label_noise import add_label_noise as add_label_noise
from .data.loading import load_dataset as load_dataset
from .data.sample_ids import WithSampleIds as WithSampleIds
from .pipeline.apply import apply_decisions as apply_decisions
from .pipeline.audit import audit as audit
from .pipeline.compare import Comparison as Comparison
from .pipeline.compare import compare as compare
from .pipeline.estimate import check as check
from .pipeline.estimate import estimate as estimate
from .pipeline.export import export_audit as export_audit
from .pipeline.report import write_report as write_report
from .recording.alignment import head_alignment as head_alignment
from .recording.distributed import shared_store as shared_store
from .recording.recorder import AlignmentRecorder as AlignmentRecorder
from .store.store import TrajectoryStore as TrajectoryStore
from .training.trainer import train as train

__version__: str
